/** Runs the conformance vectors that all SDKs share. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import type { LeaseItem } from '@tasker-systems/tasker';
import { assertExpected } from './vector-comparison.js';
import { isWireOperation, OPERATIONS } from './vector-operations.js';

const LANGUAGE = 'ts';

interface Outcome {
  expect?: unknown;
  expect_error?: boolean;
  include?: string[];
  absent?: string[];
}

interface Vector extends Outcome {
  id: string;
  area: string;
  op: string;
  handler?: string;
  patch?: Record<string, unknown>;
  args?: never[];
  langs: string[];
  overrides?: Record<string, Partial<Vector>>;
}

interface VectorFile {
  base: LeaseItem;
  vectors: Vector[];
}

const file = JSON.parse(
  readFileSync(new URL('../../../../conformance/vectors.json', import.meta.url), 'utf8'),
) as VectorFile;

const own = file.vectors.filter((vector) => vector.langs.includes(LANGUAGE)).map(overridden);
const ranIn = new Set<string>();

describe('the conformance vectors', () => {
  for (const vector of own) {
    it(vector.id, () => run(vector));
  }

  after(() => {
    const areas = new Set(own.map((vector) => vector.area));
    assert.deepEqual(
      [...areas].filter((area) => !ranIn.has(area)),
      [],
      'in these areas nothing ran',
    );
    assert.ok(areas.size >= 10, `there are only ${areas.size} areas`);
  });
});

async function run(vector: Vector): Promise<void> {
  const operation = OPERATIONS[vector.op];
  assert.ok(operation, `the operation ${vector.op} is unknown`);
  ranIn.add(vector.area);
  const call = async () => operation(leaseOf(vector), ...(vector.args ?? []));
  if (vector.expect_error) {
    await assert.rejects(call);
    return;
  }
  const { include, absent } = vector;
  const expectation = { expect: vector.expect, ...(include && { include }), ...(absent && { absent }) };
  assertExpected(await call(), expectation, isWireOperation(vector.op));
}

function overridden(vector: Vector): Vector {
  const override = vector.overrides?.[LANGUAGE];
  if (!override) return vector;
  const { expect, expect_error, ...kept } = vector;
  const replaced = 'expect' in override || 'expect_error' in override;
  return { ...kept, ...(replaced ? {} : { expect, expect_error: expect_error ?? false }), ...override };
}

function leaseOf({ handler, patch = {} }: Vector): LeaseItem {
  const lease = structuredClone(file.base);
  if (handler !== undefined) set(lease, '/task_sequence_step/step_definition/handler/callable', handler);
  for (const [pointer, value] of Object.entries(patch)) set(lease, pointer, value);
  return lease;
}

function set(target: object, pointer: string, value: unknown): void {
  const keys = pointer.split('/').slice(1);
  const last = keys.pop() ?? '';
  const holder = keys.reduce((found, key) => found[key] as Record<string, unknown>, target as Record<string, unknown>);
  // The vectors are shared: no change of a lease may reach them.
  holder[last] = structuredClone(value);
}
