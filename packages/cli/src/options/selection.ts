import type { DocumentSelection } from "@cairn/client";
import { omitUndefined } from "@cairn/text";
import { type OptionValues, textValue } from "./option-specs.ts";

/** The options that select documents. `act` is what the command does with them, such as `print only documents`. */
export function selectionOptions(act: string) {
  return {
    namespace: textValue("<namespace>", `${act} in this namespace`),
    prefix: textValue("<prefix>", `${act} whose name begins with this prefix`),
    from: textValue("<key>", `${act} from this key on (with --namespace, from this name on)`),
    to: textValue("<key>", `${act} before this key (with --namespace, before this name)`),
  };
}

export function selectionOf(options: OptionValues<ReturnType<typeof selectionOptions>>): DocumentSelection {
  const { namespace, prefix, from, to } = options;
  return omitUndefined({ namespace, prefix, from, to });
}
