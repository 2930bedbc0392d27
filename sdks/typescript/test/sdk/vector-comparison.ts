/** How results are compared with what a vector expects; sdks/conformance/README.md has the rules. */

import assert from 'node:assert/strict';

type Json = unknown;
type JsonObject = Record<string, Json>;

/** Keys of a worker's result below which more may be there than is expected. */
const OPEN_IN_WIRE_RESULTS = [
  '',
  '/error',
  '/metadata',
  '/metadata/custom',
  '/orchestration_metadata',
  '/orchestration_metadata/headers',
];

/** What a vector says about comparing. */
export interface Expectation {
  expect: Json;
  include?: string[];
  absent?: string[];
}

/** Fails unless a result is what is expected; `isWireResult` tells whether it is what is sent to the server. */
export function assertExpected(
  result: Json,
  { expect, include = [], absent = [] }: Expectation,
  isWireResult: boolean,
): void {
  const open = new Set(isWireResult ? OPEN_IN_WIRE_RESULTS : []);
  const actual = throughJson(result);
  compare(actual, expect, '', (pointer) => open.has(pointer) || include.some((each) => isAtOrBelow(pointer, each)));
  for (const pointer of absent) {
    assert.equal(valueAt(actual, pointer) ?? null, null, `${pointer} must be absent`);
  }
}

/** A value as it is after a way through JSON; undefined is null. */
export function throughJson(value: Json): Json {
  return JSON.parse(JSON.stringify(value ?? null)) as Json;
}

function compare(actual: Json, expected: Json, pointer: string, isOpen: (pointer: string) => boolean): void {
  if (!isObject(expected) && !Array.isArray(expected)) {
    assert.deepEqual(actual ?? null, expected, `at ${pointer}`);
  } else if (Array.isArray(expected)) {
    assert.ok(Array.isArray(actual), `a list is expected at ${pointer}`);
    assert.equal(actual.length, expected.length, `length at ${pointer}`);
    expected.forEach((each, index) => compare(actual[index], each, `${pointer}/${index}`, isOpen));
  } else if (!comparedAsText(actual, expected, pointer)) {
    compareObjects(actual, expected, pointer, isOpen);
  }
}

function compareObjects(
  actual: Json,
  expected: JsonObject,
  pointer: string,
  isOpen: (pointer: string) => boolean,
): void {
  assert.ok(isObject(actual), `an object is expected at ${pointer}, there is ${JSON.stringify(actual)}`);
  const more = isOpen(pointer) ? [] : Object.keys(actual).filter((key) => !Object.hasOwn(expected, key));
  for (const key of [...Object.keys(expected), ...more]) {
    const value = Object.hasOwn(actual, key) ? actual[key] : null;
    const wanted = Object.hasOwn(expected, key) ? expected[key] : null;
    compare(value, wanted, `${pointer}/${key}`, isOpen);
  }
}

function comparedAsText(actual: Json, expected: JsonObject, pointer: string): boolean {
  const { $contains, $excludes, $length } = expected as {
    $contains?: string[];
    $excludes?: string[];
    $length?: number;
  };
  if ($contains === undefined && $excludes === undefined && $length === undefined) return false;
  assert.ok(typeof actual === 'string', `a text is expected at ${pointer}`);
  for (const part of $contains ?? [])
    assert.ok(actual.includes(part), `'${actual}' at ${pointer} must contain '${part}'`);
  for (const part of $excludes ?? [])
    assert.ok(!actual.includes(part), `'${actual}' at ${pointer} must not contain it`);
  if ($length !== undefined) assert.equal([...actual].length, $length, `length at ${pointer}`);
  return true;
}

function isAtOrBelow(pointer: string, above: string): boolean {
  return pointer === above || pointer.startsWith(`${above}/`);
}

function valueAt(value: Json, pointer: string): Json {
  return pointer
    .split('/')
    .slice(1)
    .reduce<Json>((found, key) => (isObject(found) && Object.hasOwn(found, key) ? found[key] : undefined), value);
}

function isObject(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
