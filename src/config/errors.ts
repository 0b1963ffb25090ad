import { AnnalsError } from "../lib/annals_error.ts";
/** One thing that is wrong with the configuration. */
export interface ConfigFault {
  /** The key, with dots; empty for the file as a whole. */
  readonly key: string;
  /** What was found, what was expected, and what to do. */
  readonly message: string;
}

/** The configuration cannot be used; every fault is named. */
export class ConfigError extends AnnalsError {
  /** Always `ConfigError`. */
  override readonly name = "ConfigError";

  /** Always 2: wrong configuration. */
  override readonly exitCode = 2;

  /**
   * Makes the error.
   *
   * @param file The file; `null` when it is not about a file.
   * @param faults What is wrong.
   */
  constructor(readonly file: string | null, readonly faults: readonly ConfigFault[]) {
    super(
      faults.map(({ key, message }) => [file, key, message].filter((part) => part).join(": ")).join("\n"),
    );
  }
}
