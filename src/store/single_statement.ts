/** Statements that end the enclosing transaction or have effects outside it. */
const REFUSED = new Set([
  "abort",
  "analyze",
  "attach",
  "begin",
  "call",
  "checkpoint",
  "cluster",
  "commit",
  "copy",
  "deallocate",
  "detach",
  "discard",
  "do",
  "end",
  "execute",
  "listen",
  "load",
  "lock",
  "notify",
  "pragma",
  "prepare",
  "reindex",
  "release",
  "reset",
  "rollback",
  "savepoint",
  "set",
  "start",
  "unlisten",
  "vacuum",
]);

/** Text to skip: comments and quoted text. Dollar quotes are for PostgreSQL, brackets for SQLite. */
const SKIPPED = [
  /^--[^\n]*/,
  /^'(?:[^']|'')*'/,
  /^"(?:[^"]|"")*"/,
  /^`(?:[^`]|``)*`/,
  /^\$(\w*)\$[\s\S]*?\$\1\$/,
];

/** Skips a block comment, which can be nested in PostgreSQL. */
function blockComment(sql: string): number {
  let depth = 0;
  for (let i = 0; i < sql.length - 1; i++) {
    const two = sql.slice(i, i + 2);
    if (two === "/*") [depth, i] = [depth + 1, i + 1];
    else if (two === "*/") {
      [depth, i] = [depth - 1, i + 1];
      if (depth === 0) return i + 1;
    }
  }
  return sql.length;
}

/** Returns the words and symbols of a text, without comments and quoted text. */
function* tokens(sql: string): Generator<string> {
  for (let at = 0; at < sql.length;) {
    const rest = sql.slice(at);
    if (rest.startsWith("/*")) {
      at += blockComment(rest);
      continue;
    }
    const skipped = SKIPPED.map((pattern) => pattern.exec(rest)?.[0]).find((found) => found !== undefined);
    if (skipped !== undefined) {
      if (!skipped.startsWith("--")) yield "''";
      at += skipped.length;
      continue;
    }
    const word = /^[A-Za-z_]\w*/.exec(rest)?.[0] ?? rest[0];
    if (word.trim() !== "") yield word;
    at += word.length;
  }
}

/**
 * Checks that a text is a single SQL statement that may run in the transaction of a checkpoint.
 *
 * The database validates the statement itself. This check is for what it would silently do: run or drop a second
 * statement, or end the transaction.
 *
 * @param sql The text.
 * @returns What is wrong; `null` if it is valid.
 */
export function statementFault(sql: string): string | null {
  let first: string | undefined;
  let ended = false;
  for (const token of tokens(sql)) {
    if (token.toLowerCase() === "set_config") {
      return `set_config is not allowed: its settings would hold for others as well`;
    }
    if (token === ";") ended = first !== undefined;
    else if (ended) return "it is more than one statement; record each with its own context.sql";
    else first ??= token.toLowerCase();
  }
  if (first === undefined) return "it is empty";
  if (!REFUSED.has(first)) return null;
  return `"${first}" is not allowed in a statement that runs in the transaction of a checkpoint`;
}
