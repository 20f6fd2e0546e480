/** What is wrong with a file in the age format, in the terms of its specification. */
export type AgeFault = "header" | "no match" | "HMAC" | "payload";

/** A file that is not in the age format, was changed, or is encrypted to other recipients. */
export class AgeError extends Error {
  readonly fault: AgeFault;

  /** `message` is a clause. */
  constructor(fault: AgeFault, message: string) {
    super(message);
    this.name = "AgeError";
    this.fault = fault;
  }
}
