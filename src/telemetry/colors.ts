/** Whether output is coloured. */
export interface ColorSupport {
  /** True on a terminal unless `NO_COLOR` is set. */
  readonly enabled: boolean;
}

const CODES = { none: "", dim: "\x1b[2m", red: "\x1b[31m", yellow: "\x1b[33m", green: "\x1b[32m", bold: "\x1b[1m" };

/** Wraps a text in a colour when colours are enabled. */
export function paint(text: string, color: keyof typeof CODES, { enabled }: ColorSupport): string {
  return enabled && color !== "none" && text !== "" ? `${CODES[color]}${text}\x1b[0m` : text;
}
