/** Handlers that call an HTTP API, against a real server. */

import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { describe, it } from 'node:test';
import {
  APIMixin,
  ApiHandler,
  ApiResponse,
  applyAPI,
  defineApiHandler,
  StepHandler,
  type StepHandlerResult,
} from '@tasker-systems/tasker';
import { makeContext, runHandler } from '@tasker-systems/tasker/testing';
import { withServer } from './support.js';

interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
}

/** Calls `use` with a mixin that talks to a server, and returns what the server was sent. */
async function requestsOf(use: (api: APIMixin) => Promise<unknown>): Promise<Seen[]> {
  const seen: Seen[] = [];
  await withServer(
    (request, response) => {
      let body = '';
      request.on('data', (part: Buffer) => (body += part.toString()));
      request.on('end', () => {
        const { method = '', url = '', headers } = request;
        seen.push({ method, url, headers, body });
        response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}');
      });
    },
    async (baseUrl) => use(new APIMixin(() => ({ baseUrl, defaultHeaders: { 'x-app': 'shop' } }))),
  );
  return seen;
}

function response(status: number, body: unknown, headers: Record<string, string> = {}): ApiResponse {
  return new ApiResponse(new Response('', { status, headers }), body);
}

describe('requests', () => {
  it('have a query without what is null', async () => {
    const [first, second] = await requestsOf(async (api) => {
      await api.get('/a', { b: 1, c: null, d: undefined, e: 'f g' }, { 'x-one': '1' });
      await api.get('/a', { params: { b: 2 }, headers: { 'x-one': '2' } });
    });
    assert.equal(first?.url, '/a?b=1&e=f+g');
    assert.deepEqual([first?.headers['x-app'], first?.headers['x-one']], ['shop', '1']);
    assert.equal(second?.url, '/a?b=2');
    assert.equal(second?.headers['x-one'], '2');
  });

  it('carry JSON unless they say otherwise', async () => {
    const seen = await requestsOf(async (api) => {
      await api.post('/a', { body: { n: 1 } });
      await api.put('/a', { body: { n: 1 }, headers: { 'Content-Type': 'application/merge-patch+json' } });
      await api.patch('/a', { body: 'plain', json: false });
      await api.post('/a');
      await api.delete('/a', { 'x-one': '1' });
    });
    assert.deepEqual(
      seen.map(({ method }) => method),
      ['POST', 'PUT', 'PATCH', 'POST', 'DELETE'],
    );
    assert.deepEqual(
      seen.map(({ body }) => body),
      ['{"n":1}', '{"n":1}', 'plain', '', ''],
    );
    assert.equal(seen[0]?.headers['content-type'], 'application/json');
    assert.equal(seen[1]?.headers['content-type'], 'application/merge-patch+json');
    assert.match(String(seen[2]?.headers['content-type']), /^text\/plain/);
  });

  it('are given up when their time is over', async () => {
    await withServer(
      () => {},
      async (baseUrl) => {
        const api = new APIMixin(() => ({ baseUrl, defaultTimeout: 50 }));
        await assert.rejects(api.get('/a'), { name: 'TimeoutError' });
      },
    );
  });
});

describe('a response', () => {
  it('knows what kind it is', () => {
    assert.deepEqual([response(201, '').ok, response(300, '').ok], [true, false]);
    assert.equal(response(404, '').isClientError, true);
    assert.equal(response(503, '').isServerError, true);
    assert.deepEqual(
      [400, 408, 429, 500, 501, 503].map((status) => response(status, '').isRetryable),
      [false, true, true, true, true, true],
    );
  });

  it('knows how long the server wants to be left alone', () => {
    assert.equal(response(429, '', { 'Retry-After': '7' }).retryAfter, 7);
    assert.equal(response(429, '', { 'Retry-After': 'Fri, 31 Jan 2030 08:00:00 GMT' }).retryAfter, 60);
    assert.equal(response(429, '').retryAfter, null);
  });

  it('becomes an object', () => {
    const { status_code, headers, body } = response(200, { a: 1 }, { 'X-One': '1' }).toDict();
    assert.deepEqual([status_code, body], [200, { a: 1 }]);
    assert.deepEqual(headers, { 'content-type': 'text/plain;charset=UTF-8', 'x-one': '1' });
  });
});

describe('results of requests', () => {
  const api = new APIMixin();

  it('have the body, and the response in the metadata', () => {
    const result = api.apiSuccess(response(200, { a: 1 }));
    assert.deepEqual(result.result, { a: 1 });
    assert.equal(result.metadata['status_code'], 200);
    assert.deepEqual(api.apiSuccess(response(200, [1]), undefined, false).metadata, {});
    assert.deepEqual(api.apiSuccess(response(200, [1])).result, { data: [1] });
    assert.deepEqual(api.apiSuccess(response(200, 'x'), { mine: 1 }).result, { mine: 1 });
    assert.deepEqual(api.apiSuccess({ plain: 1 }).result, { plain: 1 });
  });

  it('say what the server said', () => {
    for (const body of [{ error: 'm' }, { message: 'm' }, { detail: 'm' }, { error: { message: 'm' } }, { msg: 'm' }]) {
      assert.equal(api.apiFailure(response(400, body)).errorMessage, 'HTTP 400: m');
    }
    assert.equal(api.apiFailure(response(400, {}), 'own words').errorMessage, 'own words');
  });

  it('pass on when the server wants to be called again', () => {
    const result = api.apiFailure(response(429, { error: 'slow down' }, { 'Retry-After': '7' }));
    assert.deepEqual(result.orchestrationMetadata, { headers: { 'retry-after': '7' } });
    assert.equal(result.metadata['retry_after_seconds'], 7);
    assert.deepEqual(result.metadata['response_body'], { error: 'slow down' });
  });

  it('tell connections from time limits', () => {
    const lost = api.connectionError(new TypeError('fetch failed'), 'fetching order');
    assert.equal(lost.errorMessage, 'Connection error while fetching order: fetch failed');
    assert.deepEqual([lost.errorType, lost.retryable], ['connection_error', true]);
    assert.deepEqual(lost.metadata, { exception_type: 'TypeError' });
    const late = api.timeoutError(new Error('too late'));
    assert.equal(late.errorMessage, 'Request timeout: too late');
    assert.deepEqual([late.errorType, late.retryable], ['timeout', true]);
  });
});

describe('settings of a handler', () => {
  const answer = (url: string) => `{"url":"${url}"}`;
  const echoServer = <T>(use: (url: string) => Promise<T>) =>
    withServer((request, reply) => {
      reply.writeHead(200, { 'content-type': 'application/json' }).end(answer(request.url ?? ''));
    }, use);

  it('come from its class, or from the instance', async () => {
    class Fetch extends ApiHandler {
      static override handlerName = 'fetch';
      readonly paths: string[] = [];

      async call(): Promise<StepHandlerResult> {
        return this.apiSuccess(await this.get('/order'));
      }
    }
    await echoServer(async (url) => {
      Fetch.baseUrl = url;
      assert.deepEqual((await new Fetch().call()).result, { url: '/order' });
      class OfInstance extends Fetch {
        baseUrl = `${url}/instance`;
      }
      assert.deepEqual((await new OfInstance().call()).result, { url: '/instance/order' });
    });
    assert.deepEqual(new Fetch().capabilities, ['process', 'http', 'api']);
  });

  it('work for any class that the methods are applied to', async () => {
    class Applied extends StepHandler {
      static override handlerName = 'applied';
      static baseUrl = '';
      private readonly api = applyAPI(this);

      async call(): Promise<StepHandlerResult> {
        return this.api.apiSuccess(await this.api.get('/order'));
      }
    }
    await echoServer(async (url) => {
      Applied.baseUrl = url;
      assert.deepEqual((await new Applied().call()).result, { url: '/order' });
    });
  });

  it('are options of a handler function', async () => {
    await echoServer(async (baseUrl) => {
      const Fetch = defineApiHandler('api_settings', { baseUrl, inputs: { id: 'order_id' } }, async ({ api, id }) =>
        api.apiSuccess(await api.get(`/orders/${id}`)),
      );
      const result = await runHandler(Fetch, makeContext({ inputData: { order_id: 7 } }));
      assert.deepEqual(result.result, { url: '/orders/7' });
    });
  });
});
