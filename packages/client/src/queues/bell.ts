/** Something that waiters await until it is notified. */
export class Bell {
  #ring: () => void = () => {};
  #rung: Promise<void> = Promise.resolve();

  constructor() {
    this.#renew();
  }

  ring(): void {
    this.#ring();
    this.#renew();
  }

  get next(): Promise<void> {
    return this.#rung;
  }

  #renew(): void {
    this.#rung = new Promise((resolve) => (this.#ring = resolve));
  }
}
