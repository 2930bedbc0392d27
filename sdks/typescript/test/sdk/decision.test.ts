/** Decision handlers, beyond what the conformance vectors say. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  applyDecision,
  DecisionHandler,
  DecisionMixin,
  DecisionStepHandler,
  DecisionType,
  defineDecisionHandler,
  StepHandler,
} from '@tasker-systems/tasker';
import { makeContext, runHandler } from '@tasker-systems/tasker/testing';

class Route extends DecisionHandler {
  static override handlerName = 'route';
  static override handlerVersion = '2.0.0';

  async call() {
    return this.decisionSuccess(['a'], {}, { mine: 1 });
  }

  custom() {
    return this.decisionSuccessWithOutcome({
      decisionType: DecisionType.CREATE_STEPS,
      nextStepNames: ['a'],
      dynamicSteps: [{ name: 'a' }],
      routingContext: { tier: 1 },
    });
  }

  none() {
    return this.decisionNoBranches('nothing to do');
  }

  noneWithOutcome() {
    const routingContext = { tier: 1 };
    return this.decisionNoBranches({
      decisionType: DecisionType.NO_BRANCHES,
      nextStepNames: [],
      reason: 'r',
      routingContext,
    });
  }
}

describe('a decision', () => {
  it('is marked with who made it', async () => {
    const { metadata } = await new Route().call();
    assert.deepEqual(metadata, { decision_handler: 'route', decision_version: '2.0.0', mine: 1 });
    assert.equal(new DecisionMixin().decisionFailure('m').metadata['decision_handler'], 'DecisionMixin');
    assert.deepEqual(new Route().capabilities, ['process', 'decision', 'routing']);
    assert.equal(DecisionStepHandler, DecisionHandler);
  });

  it('may come with steps of its own', () => {
    assert.deepEqual(new Route().custom().result, {
      decision_point_outcome: { type: 'create_steps', step_names: ['a'], dynamic_steps: [{ name: 'a' }] },
      routing_context: { tier: 1 },
    });
  });

  it('for no step takes a reason or an outcome', () => {
    const outcome = { decision_point_outcome: { type: 'no_branches' } };
    assert.deepEqual(new Route().none().result, { ...outcome, reason: 'nothing to do' });
    assert.deepEqual(new Route().noneWithOutcome().result, { ...outcome, reason: 'r', routing_context: { tier: 1 } });
  });

  it('can be made by any handler that the methods are applied to', async () => {
    class Applied extends StepHandler {
      static override handlerName = 'applied';
      private readonly decide = applyDecision(this);

      async call() {
        return this.decide.skipBranches('r');
      }
    }
    assert.equal((await new Applied().call()).metadata['decision_handler'], 'applied');
  });

  it('may be a result of its own in a function', async () => {
    const Custom = defineDecisionHandler('custom_decision', {}, () => new Route().custom());
    assert.deepEqual((await runHandler(Custom, makeContext())).result, new Route().custom().result);
  });
});
