import { AnnalsError } from "../lib/annals_error.ts";
/** A fault in the configuration. */
export interface ConfigFault {
  /** The key, with dots; empty for the file as a whole. */
  readonly key: string;
  /** What was found, what was expected, and what to do. */
  readonly message: string;
}

/** Thrown when the configuration is invalid; lists every fault. */
export class ConfigError extends AnnalsError {
  /** Always `ConfigError`. */
  override readonly name = "ConfigError";

  /** Always 2: wrong configuration. */
  override readonly exitCode = 2;

  /**
   * Creates the error.
   *
   * @param file The file; `null` if there is none.
   * @param faults The faults.
   */
  constructor(readonly file: string | null, readonly faults: readonly ConfigFault[]) {
    super(
      faults.map(({ key, message }) => [file, key, message].filter((part) => part).join(": ")).join("\n"),
    );
  }
}
