import type { ComponentChildren } from "preact";

/** How good something is. Each state has a colour, a shape and a word, so that none of them is needed alone. */
export type MarkState = "healthy" | "not-ready" | "attention" | "failing" | "unknown";

const SHAPES: Readonly<Record<MarkState, ComponentChildren>> = {
  healthy: (
    <>
      <circle cx="8" cy="8" r="7" />
      <path class="line" d="M4.5 8.2 7 10.7 11.5 5.6" />
    </>
  ),
  attention: (
    <>
      <path d="M8 1 15.5 14.5H.5z" />
      <path class="line" d="M8 6v4M8 12v.6" />
    </>
  ),
  failing: (
    <>
      <path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z" />
      <path class="line" d="m5.5 5.5 5 5m0-5-5 5" />
    </>
  ),
  "not-ready": (
    <>
      <path d="M8 1 15 8l-7 7-7-7z" />
      <path class="line" d="M5 8h5.4M8.4 5.6 10.8 8l-2.4 2.4" />
    </>
  ),
  unknown: (
    <>
      <rect x="1.5" y="1.5" width="13" height="13" rx="3" />
      <path class="line" d="M6 6.2c.2-2.4 4-2.2 4 .1C10 8 8 8 8 9.6M8 11.6v.6" />
    </>
  ),
};

/** The shape of a state. The word for it must be next to it. */
export function Mark({ state }: { readonly state: MarkState }) {
  return (
    <svg class={`mark ${state}`} viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      {SHAPES[state]}
    </svg>
  );
}

export function Fact({ name, children }: { readonly name: string; readonly children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
