import { createHash } from "node:crypto";
import { nkeys } from "nats";

type KeyPair = ReturnType<typeof nkeys.createUser>;

/** An operator with one account, as `nsc` creates them: the configuration of a server, and .creds files of users. */
export class NatsOperatorMode {
  readonly #operator = nkeys.createOperator();
  readonly #account = nkeys.createAccount();

  /** The configuration of a server with the account. JetStream also needs a system account. */
  get config(): string {
    const system = nkeys.createAccount().getPublicKey();
    const id = this.#account.getPublicKey();
    const operator = jwt(this.#operator, this.#operator.getPublicKey(), {
      type: "operator",
      system_account: system,
    });
    const accounts = `${id}: ${this.#accountToken(id)}, ${system}: ${this.#accountToken(system)}`;
    return `operator: ${operator}\nresolver: MEMORY\nresolver_preload: { ${accounts} }\n`;
  }

  #accountToken(id: string): string {
    // The account has no limits.
    const limits = {
      subs: -1,
      data: -1,
      payload: -1,
      conn: -1,
      leaf: -1,
      imports: -1,
      exports: -1,
      wildcards: true,
    };
    const isLog = id === this.#account.getPublicKey();
    const storage = isLog ? { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 } : {};
    return jwt(this.#operator, id, { type: "account", limits: { ...limits, ...storage } });
  }

  /** Returns the content of a .creds file for a new user. `expires` is in seconds since 1970. */
  credentials(expires?: number): string {
    const user = nkeys.createUser();
    const token = jwt(
      this.#account,
      user.getPublicKey(),
      { type: "user", subs: -1, data: -1, payload: -1 },
      expires,
    );
    const seed = Buffer.from(user.getSeed()).toString();
    return [
      "-----BEGIN NATS USER JWT-----",
      token,
      "------END NATS USER JWT------",
      "",
      "-----BEGIN USER NKEY SEED-----",
      seed,
      "------END USER NKEY SEED------",
      "",
    ].join("\n");
  }
}

function jwt(issuer: KeyPair, subject: string, nats: object, expires?: number): string {
  const claims = {
    iat: Math.floor(Date.now() / 1_000),
    iss: issuer.getPublicKey(),
    name: "test",
    sub: subject,
    ...(expires === undefined ? {} : { exp: expires }),
    nats: { version: 2, ...nats },
  };
  const jti = createHash("sha256").update(JSON.stringify(claims)).digest("base64url");
  const body = `${encode({ typ: "JWT", alg: "ed25519-nkey" })}.${encode({ jti, ...claims })}`;
  return `${body}.${Buffer.from(issuer.sign(Buffer.from(body))).toString("base64url")}`;
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
