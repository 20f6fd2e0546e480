/** A point in the code under test at which a test can hold it. */
export class Gate {
  #opened: Promise<void> | undefined;
  #open: () => void = () => {};
  #arrived: () => void = () => {};
  #arrival: Promise<void> = Promise.resolve();

  close(): void {
    this.#opened = new Promise((resolve) => {
      this.#open = resolve;
    });
    this.#arrival = new Promise((resolve) => {
      this.#arrived = resolve;
    });
  }

  open(): void {
    this.#open();
    this.#opened = undefined;
  }

  /** Waits until the gate is open. The code under test calls this function. */
  async passed(): Promise<void> {
    this.#arrived();
    await this.#opened;
  }

  /** Resolves once the code under test has reached the closed gate. */
  async reached(): Promise<void> {
    await this.#arrival;
  }
}
