import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import { configureLogging, createLogger, logDebug, logError, logWarn } from '../../src/logging/index.js';

/** Return what is written to stderr meanwhile. */
function written(act: () => void): string {
  const write = process.stderr.write;
  let text = '';
  process.stderr.write = (part: string | Uint8Array) => {
    text += String(part);
    return true;
  };
  try {
    act();
  } finally {
    process.stderr.write = write;
  }
  return text;
}

afterEach(() => configureLogging({ level: 'info', format: 'auto' }));

test('a line is one JSON object with time, level, event, logger and fields', () => {
  configureLogging({ level: 'info', format: 'json' });
  const text = written(() => createLogger({ logger: 'shop', order: 1 }).warn('late', { order: 2, minutes: 5 }));
  const { timestamp, ...line } = JSON.parse(text) as Record<string, unknown>;
  assert.match(String(timestamp), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.deepEqual(line, { level: 'warning', event: 'late', logger: 'shop', order: 2, minutes: 5 });
});

test('lines that weigh less than the level are not written', () => {
  const both = () => {
    logDebug('a');
    logWarn('b');
  };
  for (const [level, lines] of [
    ['debug', 2],
    ['warn', 1],
    ['error', 0],
    ['off', 0],
    ['debug,hyper=off', 2],
  ] as const) {
    configureLogging({ level, format: 'json' });
    assert.equal(written(both).split('\n').length - 1, lines, level);
  }
});

test('what has no JSON form does not cost the line', () => {
  configureLogging({ level: 'info', format: 'json' });
  const circle: Record<string, unknown> = { big: 1n };
  circle['self'] = circle;
  const line = JSON.parse(written(() => logError('odd', { circle, error: new Error('no') }))) as Record<string, never>;
  assert.deepEqual(line['circle'], { big: '1', self: '[circular]' });
  assert.equal((line['error'] as unknown as Error).message, 'no');
});

test('on a console a line is readable', () => {
  configureLogging({ level: 'info', format: 'console' });
  const text = written(() => logWarn('late', { order: 'A-1', minutes: 5 }));
  assert.match(text, /^\S+Z warning tasker: late order=A-1 minutes=5\n$/);
});
