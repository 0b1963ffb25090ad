/** Whether to colour. */
export interface ColorSupport {
  /** Only on a terminal, and never with `NO_COLOR`. */
  readonly enabled: boolean;
}

const CODES = { none: "", dim: "\x1b[2m", red: "\x1b[31m", yellow: "\x1b[33m", green: "\x1b[32m", bold: "\x1b[1m" };

/** Colours a text, where colours are wanted. */
export function paint(text: string, color: keyof typeof CODES, { enabled }: ColorSupport): string {
  return enabled && color !== "none" && text !== "" ? `${CODES[color]}${text}\x1b[0m` : text;
}
