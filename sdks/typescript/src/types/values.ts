import type { JsonObject } from '../wire.js';

/** Whether a value is an object with keys, as opposed to a list, null or a scalar. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An object's own value: `constructor` and the like are not among the keys of data. */
export function ownValue(object: unknown, key: string): unknown {
  return isObject(object) && Object.hasOwn(object, key) ? object[key] : undefined;
}

/** Gives an object a value that is made when it is first read. */
export function setLazily<Value>(object: Record<string, Value>, key: string, make: () => Value): void {
  let unmade: (() => Value) | null = make;
  let value: Value;
  Object.defineProperty(object, key, {
    enumerable: true,
    configurable: true,
    get: () => {
      if (unmade !== null) {
        value = unmade();
        unmade = null;
      }
      return value;
    },
    set: (replacement: Value) => {
      value = replacement;
      unmade = null;
    },
  });
}

/** A step's result without the envelope that it comes in; null if there is none. */
export function unwrapResult(entry: unknown): unknown {
  const value = isObject(entry) && Object.hasOwn(entry, 'result') ? entry['result'] : entry;
  return value ?? null;
}
