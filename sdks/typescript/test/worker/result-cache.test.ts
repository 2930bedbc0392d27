import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FetchedResult } from '../../src/types/fetched-result.js';
import { ResultCache } from '../../src/worker/result-cache.js';

/** The result of a step, as an answer of 100 bytes. */
function result(name: string, bytes = 100): FetchedResult {
  const answer = (text: string) => JSON.stringify({ results: { [name]: { result: text } } });
  const found = FetchedResult.ofAnswer(answer('x'.repeat(bytes - answer('').length)), name);
  assert.equal(found?.text.length, bytes);
  return found as FetchedResult;
}

function namesIn(cache: ResultCache): string[] {
  return ['a', 'b', 'c', 'd'].filter((name) => cache.get(name) !== null);
}

test('what was not used for the longest time goes first', () => {
  const cache = new ResultCache(300);
  for (const name of ['a', 'b', 'c']) {
    cache.keep(name, result(name));
  }
  assert.equal(cache.get('a')?.name, 'a');
  cache.keep('d', result('d'));
  assert.deepEqual(namesIn(cache), ['a', 'c', 'd']);
  cache.keep('b', result('b', 200));
  assert.deepEqual(namesIn(cache), ['b', 'd']);
});

test('what is too large is not kept, and drives nothing out', () => {
  const cache = new ResultCache(300);
  cache.keep('a', result('a'));
  cache.keep('b', result('b', 301));
  assert.deepEqual(namesIn(cache), ['a']);
});

test('a result that is kept twice counts once', () => {
  const cache = new ResultCache(200);
  cache.keep('a', result('a'));
  cache.keep('a', result('a'));
  cache.keep('b', result('b'));
  assert.deepEqual(namesIn(cache), ['a', 'b']);
});
