/** Who is to hear how a command ended; kept in its metadata. */
export interface Sender {
  /** The category of the inbox. */
  readonly inbox: string;
  /** The instance. */
  readonly id: string;
  /** How many times that had begun when it has sent the command. */
  readonly run: number;
  /** Whether it is to hear of an accepted command as well. */
  readonly all?: boolean;
}

/** The field of the metadata: clients may not use it. */
const FIELD = "$sender";

/** Whether the metadata of a client has a field that is not a client's. */
export function isReserved(metadata: Readonly<Record<string, unknown>>): boolean {
  return Object.keys(metadata).some((field) => field.startsWith("$"));
}

function parse(metadata: string | null): Record<string, unknown> {
  try {
    return metadata === null ? {} : JSON.parse(metadata);
  } catch {
    return {};
  }
}

function textOf(metadata: Record<string, unknown>): string | null {
  return Object.keys(metadata).length === 0 ? null : JSON.stringify(metadata);
}

/**
 * Returns who is to hear how a command ended.
 *
 * @param metadata The command's metadata, or their JSON text.
 */
export function senderOf(metadata: string | null | Readonly<Record<string, unknown>>): Sender | null {
  if (metadata === null || (typeof metadata === "string" && !metadata.includes(`"${FIELD}"`))) return null;
  const fields = typeof metadata === "string" ? parse(metadata) : metadata;
  const { inbox, id, run, all } = (fields[FIELD] ?? {}) as Record<string, unknown>;
  if (typeof inbox !== "string" || typeof id !== "string" || typeof run !== "number") return null;
  return { inbox, id, run, ...(all === true && { all }) };
}

/**
 * Returns the metadata that a message passes on to what follows from it: all but who is to hear of it.
 *
 * @param metadata JSON text.
 */
export function inherited(metadata: string | null): string | null {
  if (metadata === null || !metadata.includes(`"${FIELD}"`)) return metadata;
  const { [FIELD]: _, ...rest } = parse(metadata);
  return textOf(rest);
}

/**
 * Adds who is to hear how a command ended.
 *
 * @param metadata JSON text of what it inherits.
 * @param sender The sender.
 */
export function withSender(metadata: string | null, sender: Sender): string {
  return textOf({ ...parse(metadata), [FIELD]: sender })!;
}
