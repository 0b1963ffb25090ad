import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Server } from "./server.ts";

const CLONE = new URL("../../", import.meta.url);

/** The program that makes projects. */
export const INIT: string = fileURLToPath(new URL("src/init/main.ts", CLONE));

/** What a program said, and how it ended. */
export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs Deno to its end. */
export async function deno(args: readonly string[], cwd: string, env: Record<string, string> = {}): Promise<Said> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** A project that `init` has made in a folder of its own, with the package of this clone. */
export class Project implements AsyncDisposable {
  readonly folder: string;
  readonly env: Record<string, string>;
  #top: string;
  #running: Server[] = [];

  private constructor(top: string, name: string, env: Record<string, string>) {
    this.#top = top;
    this.folder = join(top, name);
    this.env = env;
  }

  /** Makes one; `env` is what its tasks see. */
  static async make(name: string, env: Record<string, string> = {}): Promise<Project> {
    const top = await Deno.makeTempDir({ prefix: "annals-" });
    const made = await deno(["run", "-A", "--no-check", INIT, name], top);
    if (made.code !== 0) throw new Error(`init ended with ${made.code}: ${made.stderr}`);
    return new Project(top, name, env);
  }

  /** Runs one of its tasks, as its README says. */
  task(...args: string[]): Promise<Said> {
    return deno(["task", ...args], this.folder, this.env);
  }

  /** Starts its server, by its task. */
  async start(): Promise<Server> {
    const server = new Server(["start"], this.folder, this.env, "task");
    this.#running.push(server);
    return await server.running();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Not by SIGKILL, which the task could not hand on to the server.
    for (const server of this.#running) await server.stop();
    await Deno.remove(this.#top, { recursive: true });
  }
}
