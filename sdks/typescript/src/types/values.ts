import type { JsonObject } from '../wire.js';

/** Whether a value is an object with keys, as opposed to a list, null or a scalar. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An object's own value: `constructor` and the like are not among the keys of data. */
export function ownValue(object: unknown, key: string): unknown {
  return isObject(object) && Object.hasOwn(object, key) ? object[key] : undefined;
}

/** A step's result without the envelope that it comes in; null if there is none. */
export function unwrapResult(entry: unknown): unknown {
  const value = isObject(entry) && Object.hasOwn(entry, 'result') ? entry['result'] : entry;
  return value ?? null;
}
