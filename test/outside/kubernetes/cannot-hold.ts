/** Why Cairn differs from what a test expects: a sentence of its documentation, and the page that contains it. */
interface Reason {
  readonly page: string;
  readonly sentence: string;
}

const KEPT: Reason = {
  page: "policies.md",
  sentence:
    "Versions that were superseded in the last 1,000 transactions are always kept, for paged lists and for lagging watchers.",
};

const GUESSED: Reason = {
  page: "policies.md",
  sentence:
    "Removed history is never guessed: if a read as of a transaction, a list, or a watch needs it, the response is 410",
};

/**
 * The tests, or parts of tests, that Cairn cannot pass by design. Each must fail. They expect that a compaction refuses
 * all earlier revisions at once, even those at which nothing is missing.
 */
export const CANNOT_HOLD: Readonly<Record<string, Reason>> = {
  "TestStore/RunTestCompactRevision": GUESSED,
  "TestStore/RunTestList/test_List_on_existing_key_with_resource_version_set_before_first_write,_match=Exact":
    KEPT,
  "TestStore/RunTestList/test_List_with_continue,_resource_version_before_first_write": KEPT,
  "TestStore/RunTestList/test_List_with_resource_version_set_before_first_write,_match=Exact": KEPT,
};
