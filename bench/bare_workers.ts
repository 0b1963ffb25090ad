/**
 * The floor of a hundred handlers: a hundred Deno workers that load the same domain and `node:vm` and do nothing. Run
 * as a process; prints seconds, MB and open files.
 *
 * @module
 */
const read = (path: string): string => Deno.readTextFileSync(path);

const started = performance.now();
const [module, count] = [Deno.args[0], Number(Deno.args[1])];
const code = `import "node:vm"; import ${JSON.stringify(module)}; postMessage("ready");`;
const entry = `data:application/javascript,${encodeURIComponent(code)}`;
let begun = 0;
const start = async (): Promise<void> => {
  while (begun++ < count) {
    const worker = new Worker(entry, { type: "module", deno: { permissions: { read: true } } } as WorkerOptions);
    await new Promise((resolve) => worker.onmessage = resolve);
  }
};
await Promise.all(Array.from({ length: Math.max(2, navigator.hardwareConcurrency) }, start));
console.log(JSON.stringify({
  seconds: (performance.now() - started) / 1000,
  mb: Number(/VmRSS:\s+(\d+)/.exec(read("/proc/self/status"))![1]) / 1024,
  files: [...Deno.readDirSync("/proc/self/fd")].length,
}));
Deno.exit(0);
