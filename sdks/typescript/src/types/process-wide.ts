/**
 * The one value of a name in this process, made on first use. A process may load several copies of this package, such
 * as a globally installed worker's and the application's; they meet here.
 */
export function processWide<T>(name: string, make: () => T): T {
  const key = Symbol.for(`@tasker-systems/tasker/${name}`);
  const holder = globalThis as unknown as Record<symbol, T | undefined>;
  return (holder[key] ??= make());
}
