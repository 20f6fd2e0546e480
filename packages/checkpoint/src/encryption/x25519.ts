import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";

/** The size of identities, recipients and shares, in bytes. */
export const KEY_BYTES = 32;
export const FILE_KEY_BYTES = 16;
export const TAG_BYTES = 16;
export const CIPHER = "chacha20-poly1305";

// Node reads raw keys only within these DER structures (RFC 8410).
const PRIVATE_PREFIX = Buffer.from("302e020100300506032b656e04220420", "hex");
const PUBLIC_PREFIX = Buffer.from("302a300506032b656e032100", "hex");
const INFO = "age-encryption.org/v1/X25519";
/** Each key wraps a single file key, so the nonce does not have to vary. */
const NONCE = Buffer.alloc(12);

export function recipientOf(identity: Uint8Array): Uint8Array {
  const der = createPublicKey(privateKey(identity)).export({ format: "der", type: "spki" });
  return Uint8Array.from(der.subarray(PUBLIC_PREFIX.length));
}

/** Encrypts the key of a file to a recipient. Returns the ephemeral share and the wrapped key. */
export function wrapFileKey(fileKey: Uint8Array, recipient: Uint8Array): { share: Buffer; wrapped: Buffer } {
  const ephemeral = randomBytes(KEY_BYTES);
  const share = Buffer.from(recipientOf(ephemeral));
  const cipher = createCipheriv(CIPHER, wrapKey(privateKey(ephemeral), share, recipient, recipient), NONCE, {
    authTagLength: TAG_BYTES,
  });
  const wrapped = Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
  return { share, wrapped };
}

/** Decrypts the key of a file; undefined if it was encrypted to another recipient. Throws for a share of low order. */
export function unwrapFileKey(identity: Uint8Array, share: Uint8Array, wrapped: Buffer): Buffer | undefined {
  return authenticated(wrapKey(privateKey(identity), share, recipientOf(identity), share), NONCE, wrapped);
}

/** Decrypts what ends with its authentication tag; undefined if it was changed, or encrypted with another key. */
export function authenticated(key: Uint8Array, nonce: Buffer, sealed: Buffer): Buffer | undefined {
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  const content = decipher.update(sealed.subarray(0, -TAG_BYTES));
  try {
    decipher.final();
    return content;
  } catch {
    // The only possible failure is that of the authentication.
    return undefined;
  }
}

function wrapKey(own: KeyObject, share: Uint8Array, recipient: Uint8Array, other: Uint8Array): Uint8Array {
  const der = Buffer.concat([PUBLIC_PREFIX, other]);
  const publicKey = createPublicKey({ key: der, format: "der", type: "spki" });
  // Throws for points of low order, whose shared secret would be zero.
  const shared = diffieHellman({ privateKey: own, publicKey });
  const salt = Buffer.concat([share, recipient]);
  return new Uint8Array(hkdfSync("sha256", shared, salt, INFO, KEY_BYTES));
}

function privateKey(identity: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PRIVATE_PREFIX, identity]), format: "der", type: "pkcs8" });
}
