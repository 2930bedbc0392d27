/** Results that a lease leaves out are to handlers what they would be in the lease. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { detectAggregationScenario, StepContext } from '../../src/index.js';
import { FetchedResult } from '../../src/types/fetched-result.js';
import { stepEventFromLease } from '../../src/types/step-event.js';
import type { WireDependencyResult } from '../../src/wire.js';
import { makeLease } from './support.js';

const RESULTS = ['analyze', 'batch_001', 'batch_002', 'batch_003'].map((name, index) => [
  name,
  envelope(index, { number: index, zero: -0, nothing: null, text: '\u2028\u{1f600}', ['__proto__']: [] }),
]) as [string, WireDependencyResult][];

function envelope(index: number, result: unknown): WireDependencyResult {
  return { step_uuid: `0192f0c1-2d3e-7a4b-8c5d-6e7f8000000${index + 1}`, success: true, result, status: 'completed' };
}

/** What the server answers; `JSON.stringify` does not know a negative zero. */
function answerWith(name: string, entry: unknown): string {
  return JSON.stringify({ results: { [name]: entry } }).replace('"zero":0', '"zero":-0');
}

/** A context whose lease leaves out the results of these names. */
function contextWithout(...omitted: string[]): StepContext {
  const lease = makeLease({ callable: 'subject' });
  const sent = RESULTS.map(([name, entry]) => [name, omitted.includes(name) ? null : entry] as const);
  lease.task_sequence_step.dependency_results = Object.fromEntries(sent);
  const fetched = RESULTS.filter(([name]) => omitted.includes(name)).map(([name, entry]) =>
    FetchedResult.ofAnswer(answerWith(name, entry), name),
  );
  return StepContext.fromFfiEvent(stepEventFromLease(lease, fetched as FetchedResult[]), 'subject');
}

/** A context and how often each result that it leaves out was parsed. */
function watchedContext(): { context: StepContext; parsed: string[] } {
  const parsed: string[] = [];
  const fetched = RESULTS.map(([name, entry]) => {
    const result = FetchedResult.ofAnswer(answerWith(name, entry), name) as FetchedResult;
    const read = result.read.bind(result);
    return Object.assign(result, { read: () => parsed.push(name) && read() });
  });
  const event = stepEventFromLease(makeLease({ callable: 'subject' }), fetched);
  return { context: StepContext.fromFfiEvent(event, 'subject'), parsed };
}

describe('results that a lease leaves out', () => {
  const views: Record<string, (context: StepContext) => unknown> = {
    'one result': (context) => context.getDependencyResult('analyze'),
    'a field of it': (context) => context.getDependencyField('batch_002', 'number'),
    'the names': (context) => context.getDependencyResultKeys(),
    'all of a prefix': (context) => context.getAllDependencyResults('batch_'),
    'all entries': (context) => Object.entries(context.dependencyResults),
    'a copy': (context) => ({ ...context.dependencyResults }),
    'a structured clone': (context) => structuredClone(context.dependencyResults),
    'as JSON': (context) => JSON.stringify(context.dependencyResults),
    'those of the event': (context) => JSON.stringify(context.event),
    'a name that is there': (context) => 'analyze' in context.dependencyResults,
    'what an aggregator finds': (context) => detectAggregationScenario(context.dependencyResults, 'analyze', 'batch_'),
  };
  for (const [what, view] of Object.entries(views)) {
    it(`look like those in a lease: ${what}`, () => {
      const inline = view(contextWithout());
      for (const omitted of [['analyze'], ['batch_001', 'batch_003'], RESULTS.map(([name]) => name)]) {
        assert.deepStrictEqual(view(contextWithout(...omitted)), inline, omitted.join());
      }
    });
  }

  it('are parsed when they are read, and once', () => {
    const { context, parsed } = watchedContext();
    assert.equal(context.getDependencyResultKeys().length, 4);
    assert.equal(context.getDependencyResult('nobody'), null);
    assert.deepEqual(parsed, []);
    assert.equal(context.getDependencyResult('analyze'), context.getDependencyResult('analyze'));
    assert.equal(context.event.dependencyResults['analyze']?.success, true);
    assert.deepEqual(parsed, ['analyze']);
    assert.equal(context.getAllDependencyResults('batch_').length, 3);
    assert.deepEqual(parsed, ['analyze', 'batch_001', 'batch_002', 'batch_003']);
  });

  it('can be replaced, removed and frozen', () => {
    const { dependencyResults } = contextWithout('analyze', 'batch_001', 'batch_002');
    dependencyResults['analyze'] = 'mine';
    delete dependencyResults['batch_001'];
    Object.freeze(dependencyResults);
    assert.equal(dependencyResults['analyze'], 'mine');
    assert.equal((dependencyResults['batch_002'] as WireDependencyResult).success, true);
    assert.deepEqual(Object.keys(dependencyResults), ['analyze', 'batch_002', 'batch_003']);
  });
});
