/** The newest version of each message type that code knows, by the type's name. */
export type KnownTypes = ReadonlyMap<string, number>;

/** A type and a version of it. */
interface Versioned {
  /** The type's name. */
  readonly type: string;
  /** The version. */
  readonly schemaVersion: number;
}

/** Whether code can read a message: it knows the type, in this version or a newer one. */
export function knows(known: KnownTypes, { type, schemaVersion }: Versioned): boolean {
  return (known.get(type) ?? 0) >= schemaVersion;
}

/** Names a version of a type, like `Deposited@2`. */
export function versionName({ type, schemaVersion }: Versioned): string {
  return `${type}@${schemaVersion}`;
}

/** The type and version that {@linkcode versionName} has named. */
export function parseVersionName(name: string): Versioned {
  const at = name.lastIndexOf("@");
  return { type: name.slice(0, at), schemaVersion: Number(name.slice(at + 1)) };
}
