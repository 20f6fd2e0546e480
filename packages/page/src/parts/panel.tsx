import { Component, type ComponentChildren } from "preact";
import type { Polled } from "../data/polled.ts";
import { span } from "../text/amounts.ts";
import { localTime } from "../text/times.ts";

interface PanelProps<T> {
  readonly id: string;
  readonly title: string;
  readonly source: Polled<T>;
  readonly aside?: ComponentChildren;
  readonly children: (value: T) => ComponentChildren;
}

/** A part of a view that shows one answer of the node: how old it is if the node no longer answers, and why. */
export function Panel<T>({ id, title, source, aside, children }: PanelProps<T>) {
  const { value, failure } = source;
  return (
    <section
      class={`panel ${id}${failure === undefined ? "" : " old"}`}
      aria-labelledby={`${id}-title`}
      id={id}
    >
      <header>
        <h2 id={`${id}-title`}>{title}</h2>
        {aside === undefined ? null : <span class="aside">{aside}</span>}
      </header>
      <SourceFailure source={source} />
      {value === undefined ? (
        failure === undefined && <p class="quiet">Asking the node …</p>
      ) : (
        <Understood key={id} answer={value}>
          {() => children(value)}
        </Understood>
      )}
    </section>
  );
}

function SourceFailure({ source: { value, at, failure } }: { readonly source: Polled<unknown> }) {
  if (failure === undefined) return null;
  const { error, since } = failure;
  const age = at === undefined ? undefined : Date.now() - at;
  return (
    <p class="problem" role="status">
      {value === undefined ? "Unknown" : `As of ${localTime(at)}, ${span(age)} ago`}: {error.message}{" "}
      {error.hint ?? ""} <span class="quiet">(since {localTime(since)})</span>
    </p>
  );
}

interface UnderstoodProps {
  readonly answer: unknown;
  readonly children: () => ComponentChildren;
}

/** An answer of another form than the page expects hides this part of the page and not all of it. */
export class Understood extends Component<UnderstoodProps, { failedWith?: unknown }> {
  static override getDerivedStateFromError(): { failedWith: unknown } {
    return { failedWith: true };
  }

  override componentDidUpdate(before: UnderstoodProps): void {
    if (before.answer !== this.props.answer && this.state.failedWith !== undefined)
      this.setState({ failedWith: undefined });
  }

  override render() {
    if (this.state.failedWith !== undefined) {
      return (
        <p class="problem">
          The node's answer cannot be understood: it has another form than this page expects.
        </p>
      );
    }
    return <Contents>{this.props.children}</Contents>;
  }
}

/** Makes the children as a component of their own, because only errors below a component reach it. */
function Contents({ children }: { readonly children: () => ComponentChildren }) {
  return <>{children()}</>;
}
