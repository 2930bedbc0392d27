/** Events of the business: from publishers to subscribers in the same process. */

import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import {
  BasePublisher,
  BaseSubscriber,
  createDomainEvent,
  createFfiPollAdapter,
  createStepEventContext,
  DefaultPublisher,
  type DomainEvent,
  type FfiDomainEvent,
  InProcessDomainEventPoller,
  PublisherRegistry,
  PublisherValidationError,
  StepHandlerResult,
  type StepResult,
  SubscriberRegistry,
} from '@tasker-systems/tasker';
import { EventCapture } from '@tasker-systems/tasker/testing';
import { executeLease } from '../../src/execution.js';
import { makeLease } from './support.js';

const RESULT: StepResult = { success: true, result: { amount: 5 } };
const CONTEXT = createStepEventContext({ taskUuid: 't', stepUuid: 's', stepName: 'charge' });

function event(eventName: string): DomainEvent {
  return createDomainEvent({ eventName, payload: {}, stepResult: RESULT });
}

/** A poller that was handed these events by its poll function, all in one poll. */
async function polled(
  names: string[],
  prepare: (poller: InProcessDomainEventPoller, poll: () => DomainEvent | null) => void,
): Promise<InProcessDomainEventPoller> {
  const poller = new InProcessDomainEventPoller({ pollIntervalMs: 1 });
  const waiting = names.map(event);
  let end = () => {};
  const drained = new Promise<void>((resolve) => (end = resolve));
  const poll = () => {
    const next = waiting.shift() ?? null;
    if (next === null) end();
    return next;
  };
  poller.setPollFunction(poll);
  prepare(poller, poll);
  poller.start();
  const alive = setInterval(() => {}, 1000);
  await drained;
  clearInterval(alive);
  poller.stop();
  return poller;
}

afterEach(() => {
  PublisherRegistry.instance.reset();
  SubscriberRegistry.instance.reset();
});

describe('a publisher', () => {
  it('publishes what it makes of the result, with what is known of the step', () => {
    class Payments extends BasePublisher {
      readonly publisherName = 'payments';
      override transformPayload({ result }: StepResult) {
        return { cents: Number(result?.['amount']) * 100 };
      }
      override additionalMetadata() {
        return { currency: 'EUR' };
      }
    }
    const capture = new EventCapture().subscribeTo();
    assert.equal(new Payments().publish({ eventName: 'payment.done', stepResult: RESULT, stepContext: CONTEXT }), true);
    capture.stop();
    const [published] = capture.events;
    assert.deepEqual(published?.payload, { cents: 500 });
    assert.deepEqual(published?.executionResult, { success: true, result: { amount: 5 }, metadata: {} });
    const { firedAt, publishedAt, ...metadata } = published?.metadata ?? {};
    assert.ok(firedAt && publishedAt);
    assert.deepEqual(metadata, {
      taskUuid: 't',
      stepUuid: 's',
      stepName: 'charge',
      namespace: 'default',
      correlationId: 't',
      publisher: 'payments',
      currency: 'EUR',
    });
  });

  it('may decline, before and after the payload is made', () => {
    const capture = new EventCapture().subscribeTo();
    class Declines extends DefaultPublisher {
      override shouldPublish() {
        return false;
      }
    }
    class Vetoes extends DefaultPublisher {
      override beforePublish() {
        return false;
      }
    }
    assert.equal(new Declines().publish({ eventName: 'a', stepResult: RESULT }), false);
    assert.equal(new Vetoes().publish({ eventName: 'a', stepResult: RESULT }), false);
    capture.stop();
    assert.deepEqual(capture.events, []);
  });

  it('hears of its errors and does not throw them', () => {
    const heard: unknown[] = [];
    class Fails extends DefaultPublisher {
      override transformPayload(): never {
        throw new Error('bad payload');
      }
      override onPublishError(name: string, error: Error) {
        heard.push([name, error.message]);
      }
    }
    assert.equal(new Fails().publish({ eventName: 'a', stepResult: RESULT }), false);
    assert.deepEqual(heard, [['a', 'bad payload']]);
  });
});

describe('the registry of publishers', () => {
  class Named extends BasePublisher {
    constructor(readonly publisherName: string) {
      super();
    }
  }

  it('finds publishers, and the default one for all others', () => {
    const registry = PublisherRegistry.getInstance();
    const mine = new Named('mine');
    registry.register(mine);
    assert.equal(registry.get('mine'), mine);
    assert.equal(registry.get('other'), undefined);
    assert.equal(registry.getOrDefault().publisherName, 'default');
    assert.equal(registry.getStrict('default').publisherName, 'default');
    assert.deepEqual([registry.registeredNames, registry.count, registry.isEmpty], [['mine'], 1, false]);
    assert.equal(registry.unregister('mine'), true);
    assert.equal(registry.isEmpty, true);
  });

  it('is frozen once what is needed is there', () => {
    const registry = PublisherRegistry.instance;
    assert.throws(() => registry.validateRequired(['mine']), PublisherValidationError);
    registry.register(new Named('mine'));
    registry.validateRequired(['mine', 'default']);
    assert.equal(registry.isFrozen, true);
    assert.throws(() => registry.unregister('mine'), { name: 'RegistryFrozenError' });
  });
});

describe('a poller', () => {
  it('hands events to the callbacks whose patterns fit', async () => {
    const seen: string[] = [];
    const poller = await polled(['payment.done', 'order.created'], (each) => {
      each.subscribe('payment.*', ({ eventName }) => void seen.push(`payment: ${eventName}`));
      each.subscribe('*', ({ eventName }) => void seen.push(`all: ${eventName}`));
      each.subscribe('order.created', () => void seen.push('gone'))();
    });
    assert.deepEqual(seen, ['payment: payment.done', 'all: payment.done', 'all: order.created']);
    assert.equal(poller.stats.eventsProcessed, 2);
    assert.ok(poller.stats.pollCount >= 1);
    assert.equal(poller.isRunning(), false);
  });

  it('reports what callbacks and the poll function throw, and goes on', async () => {
    const errors: unknown[] = [];
    await polled(['a', 'b'], (poller) => {
      poller.onError((error, failed) => errors.push([error.message, failed?.eventName]));
      poller.subscribe('a', () => {
        throw new Error('sync');
      });
      poller.subscribe('b', () => Promise.reject(new Error('async')));
    });
    await new Promise(setImmediate);
    assert.deepEqual(errors, [
      ['sync', 'a'],
      ['async', 'b'],
    ]);
  });

  it('goes on after its poll function threw', async () => {
    const errors: unknown[] = [];
    let polls = 0;
    await polled([], (poller, poll) => {
      poller.onError((error, failed) => errors.push([error.message, failed]));
      poller.setPollFunction(() => {
        polls += 1;
        if (polls === 1) throw new Error('no source');
        return poll();
      });
    });
    assert.deepEqual(errors, [['no source', null]]);
    assert.ok(polls >= 2);
  });

  it('gets the events of publishers of this process', () => {
    const seen: string[] = [];
    const poller = new InProcessDomainEventPoller();
    poller.subscribe('*', ({ eventName }) => void seen.push(eventName));
    poller.start();
    new DefaultPublisher().publish({ eventName: 'order.created', stepResult: RESULT });
    poller.stop();
    new DefaultPublisher().publish({ eventName: 'too.late', stepResult: RESULT });
    assert.deepEqual(seen, ['order.created']);
  });

  it('drops the oldest events when too many wait', () => {
    const poller = new InProcessDomainEventPoller({ maxEventsPerPoll: 1_000_000 });
    poller.start();
    const publisher = new DefaultPublisher();
    for (let count = 0; count < 10_005; count += 1) publisher.publish({ eventName: `e.${count}`, stepResult: RESULT });
    const seen: string[] = [];
    poller.subscribe('*', ({ eventName }) => void seen.push(eventName));
    poller.stop();
    assert.equal(poller.stats.eventsLagged, 5);
    assert.deepEqual([seen.length, seen[0]], [10_000, 'e.5']);
  });

  it('takes events with the keys of other runtimes', () => {
    const metadata = {
      taskUuid: 't',
      stepUuid: null,
      namespace: 'n',
      correlationId: 'c',
      firedAt: 'now',
      firedBy: 'p',
    };
    const foreign: FfiDomainEvent = { eventId: 'e', eventName: 'a', metadata, payload: { x: 1 } };
    const converted = createFfiPollAdapter(() => foreign)();
    assert.equal(converted?.metadata.publisher, 'p');
    assert.equal(converted?.metadata.stepUuid, '');
    assert.deepEqual(converted?.payload, { x: 1 });
    assert.equal(createFfiPollAdapter(() => null)(), null);
  });
});

describe('subscribers', () => {
  it('handle each event that they want once, between their hooks', async () => {
    const seen: string[] = [];
    class Orders extends BaseSubscriber {
      static override subscribesTo() {
        return ['order.*', '*.created'];
      }
      override beforeHandle({ eventName }: DomainEvent) {
        seen.push(`before ${eventName}`);
        return eventName !== 'order.ignored';
      }
      handle({ eventName }: DomainEvent) {
        seen.push(`handle ${eventName}`);
      }
      override afterHandle({ eventName }: DomainEvent) {
        seen.push(`after ${eventName}`);
      }
    }
    const registry = SubscriberRegistry.instance;
    registry.register(Orders);
    await polled(['order.created', 'payment.done', 'order.ignored'], (poller) => {
      registry.startAll(poller);
      assert.equal(registry.isStarted, true);
      assert.equal(registry.stats.activeCount, 1);
    });
    await new Promise(setImmediate);
    registry.stopAll();
    assert.deepEqual(
      seen.filter((line) => line.startsWith('before')),
      ['before order.created', 'before order.ignored'],
    );
    assert.deepEqual(
      seen.filter((line) => !line.startsWith('before')),
      ['handle order.created', 'after order.created'],
    );
    assert.deepEqual(registry.stats, {
      started: false,
      subscriberCount: 1,
      activeCount: 0,
      subscribers: [{ name: 'Orders', active: false, patterns: ['order.*', '*.created'] }],
    });
  });

  it('hear of their errors, which go no further', async () => {
    const heard: string[] = [];
    const escaped: unknown[] = [];
    class Fails extends BaseSubscriber {
      handle(): never {
        throw new Error('bad event');
      }
      override onHandleError({ eventName }: DomainEvent, error: Error) {
        heard.push(`${eventName}: ${error.message}`);
      }
    }
    await polled(['a'], (poller) => {
      poller.onError((error) => escaped.push(error));
      new Fails().start(poller);
    });
    await new Promise(setImmediate);
    assert.deepEqual([heard, escaped], [['a: bad event'], []]);
  });
});

describe('events that a template declares for a step', () => {
  const events = [
    { name: 'order.charged', condition: 'success' },
    { name: 'order.failed', condition: 'failure', publisher: 'mine' },
    { name: 'order.ended', condition: 'always' },
  ];

  async function publishedFor(
    result: StepHandlerResult,
    signal = new AbortController().signal,
  ): Promise<DomainEvent[]> {
    const capture = new EventCapture().subscribeTo('order.*');
    const handler = { name: 'h', version: '1', capabilities: [], configSchema: () => null, call: async () => result };
    const lease = makeLease({ callable: 'h', events });
    await executeLease(lease, { resolve: async () => handler, signal, workerId: 'w' });
    capture.stop();
    return capture.events;
  }

  it('are published as its outcome says', async () => {
    const published = await publishedFor(StepHandlerResult.success({ amount: 5 }));
    assert.deepEqual(
      published.map(({ eventName }) => eventName),
      ['order.charged', 'order.ended'],
    );
    assert.deepEqual(published[0]?.payload, { amount: 5 });
    const { taskUuid, stepUuid, stepName, namespace } = published[0]?.metadata ?? {};
    assert.deepEqual([taskUuid, stepUuid, stepName, namespace], ['task', 'step', 'charge', 'shop']);
    const failed = await publishedFor(StepHandlerResult.failure('bad'));
    assert.deepEqual(
      failed.map(({ eventName }) => eventName),
      ['order.failed', 'order.ended'],
    );
  });

  it('are not published for checkpoints, nor for a result that is dropped', async () => {
    const yielded = StepHandlerResult.success({ cursor: 1 }, { checkpoint_yield: true });
    assert.deepEqual(await publishedFor(yielded), []);
    assert.deepEqual(await publishedFor(StepHandlerResult.success({}), AbortSignal.abort()), []);
  });
});
