export { WorkerEndedError } from "../handling/errors.ts";

/** Thrown when a domain's module cannot be loaded or exports no domain. */
export class ModuleLoadError extends Error {
  /** Always `ModuleLoadError`. */
  override readonly name = "ModuleLoadError";
}
