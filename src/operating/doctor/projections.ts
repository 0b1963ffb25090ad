import { type Generation, versionOf } from "../../store/generations.ts";
import { check, type Examined, type Finding } from "./finding.ts";

/** What readers see of a projection, and what its newest code would show them. */
function examine(
  one: Generation,
  { domain }: Examined<"domain" | "store">,
  all: readonly Generation[],
  isServed: boolean,
) {
  const { projection, generation, state, isActive, error } = one;
  const where = `projection ${projection}, generation ${generation}`;
  const versions = domain.projections.filter(({ name }) => name === projection).map(({ version }) => version);
  const start = `deno run -A server.ts --domain=${domain.name}`;
  const find = (
    severity: Finding["severity"],
    what: string,
    todo: string,
  ): Finding[] => [{ severity, what, where, todo }];
  if (error !== null) {
    return find(
      "error",
      `It cannot be built: ${error}`,
      "correct the projector and restart the server; readers keep what they have",
    );
  }
  if (state === "dropped") {
    return find(
      "note",
      "It is dropped, and its rows are still being deleted",
      isServed ? "nothing: a server does it" : start,
    );
  }
  if (state === "building" && !isServed) return find("warning", "It is half built, and no server runs", start);
  if (versions.length === 0) {
    return find(
      "note",
      "No code keeps this projection (any more)",
      "bring the projector back; without it the rows stay as they are",
    );
  }
  const active = all.find((other) => other.projection === projection && other.isActive);
  const isBehind = !isActive && state === "fed" && active !== undefined && active.swappedAt !== null &&
    versionOf(generation) < versionOf(active.generation);
  if (!isBehind) return [];
  const todo = `annals projections drop ${projection} --generation ${generation}`;
  return find("note", `It is kept to go back to, since readers see ${active.generation}`, todo);
}

/** Builds of projections that are stuck or left over. */
export const PROJECTIONS = check("projections", ["domain", "store"], async (patient) => {
  const all = await patient.store.generations();
  const isServed = (await patient.store.members()).length > 0;
  return all.flatMap((one) => examine(one, patient, all, isServed));
});
