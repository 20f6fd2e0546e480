/** Returns the anchor that GitHub creates for a heading. */
export function headingAnchor(heading) {
  const plain = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").trim();
  return plain
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}_\- ]/gu, "")
    .replaceAll(" ", "-");
}
