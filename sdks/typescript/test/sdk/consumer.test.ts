/** The package in a project of somebody else. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const PACKAGE = fileURLToPath(new URL('../../..', import.meta.url));
const TSC = createRequire(import.meta.url).resolve('typescript/bin/tsc');

const COMPILER_OPTIONS = {
  target: 'ES2022',
  module: 'NodeNext',
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  isolatedModules: true,
  verbatimModuleSyntax: true,
  erasableSyntaxOnly: true,
  outDir: 'dist',
};

// A package with a handler that templates call by the name of the package.
const PACKAGED = `
import { StepHandler } from '@tasker-systems/tasker';

export class Packaged extends StepHandler {
  static handlerName = 'packaged';
  async call() { return this.success({ from: 'a package' }); }
}
`;

const HANDLERS = `
import {
  ApiHandler, BatchableStepHandler, Decision, StepHandler, applyBatchable,
  defineApiHandler, defineBatchWorker, defineDecisionHandler, defineHandler,
  type StepContext, type StepHandlerResult,
} from '@tasker-systems/tasker';

interface Cart { total: number }

export const charge = defineHandler('charge', { depends: { cart: 'validate' }, inputs: { token: 'payment_token' } },
  async ({ cart, token, context }) => ({ charged: (cart as Cart).total, token: token as string, attempt: context.retryCount }));

export const typed = defineHandler('typed', { depends: { cart: 'validate' } },
  ({ cart }: { cart: Cart; context: StepContext }) => ({ total: cart.total }));

export const route = defineDecisionHandler('route', { inputs: { tier: 'tier' } },
  ({ tier }) => (tier === 'premium' ? Decision.route(['fast'], { tier }) : Decision.skip('not premium')));

export const batch = defineBatchWorker('batch', {}, async ({ batchContext }) => ({ done: batchContext?.cursor.endCursor ?? 0 }));

export const fetchOrder = defineApiHandler('fetch_order', { baseUrl: 'http://localhost' },
  async ({ api }) => api.apiSuccess(await api.get('/orders/1', { expand: true })));

export class Fetch extends ApiHandler {
  static handlerName = 'fetch';
  static baseUrl = 'http://localhost';
  async call(_context: StepContext): Promise<StepHandlerResult> {
    const response = await this.post('/orders', { body: { a: 1 } });
    return response.ok ? this.apiSuccess(response) : this.apiFailure(response);
  }
}

export class Batch extends BatchableStepHandler {
  static handlerName = 'batch_class';
  async call(context: StepContext): Promise<StepHandlerResult> {
    const batch = this.getBatchContext(context);
    return batch ? this.checkpointYield(batch.startCursor + 1, 1) : this.failure('no batch');
  }
}

export class Mixed extends StepHandler {
  static handlerName = 'mixed';
  private readonly batchable = applyBatchable(this);
  async call(_context: StepContext): Promise<StepHandlerResult> {
    return this.batchable.batchWorkerSuccess(this.batchable.createWorkerOutcome(3));
  }
}
`;

const MAIN = `
import { makeContext, runHandler } from '@tasker-systems/tasker/testing';
import { HandlerRegistry } from '@tasker-systems/tasker';
import { charge } from './handlers.js';
import { ProcessOrderHandler } from './process_order_handler.js';

const dependencyResults = { validate: { result: { total: 5 } } };
const context = makeContext({ inputData: { payment_token: 't' }, dependencyResults });
const packaged = await new HandlerRegistry().resolve('@acme/handlers');
if (packaged === null) throw new Error('the package has a handler');
const handlers = [charge, ProcessOrderHandler, packaged];
const results = await Promise.all(handlers.map((handler) => runHandler(handler, context)));
console.log(JSON.stringify(results.map(({ result }) => result)));
`;

describe('a project that depends on the package', () => {
  let project: string;

  before(() => {
    project = mkdtempSync(join(tmpdir(), 'tasker-consumer-'));
    mkdirSync(join(project, 'node_modules/@tasker-systems'), { recursive: true });
    mkdirSync(join(project, 'node_modules/@types'));
    symlinkSync(PACKAGE, join(project, 'node_modules/@tasker-systems/tasker'));
    for (const name of ['@types/node', 'undici-types']) {
      symlinkSync(join(PACKAGE, 'node_modules', name), join(project, 'node_modules', name));
    }
    mkdirSync(join(project, 'src'));
    writeFileSync(join(project, 'package.json'), '{"type": "module"}');
    mkdirSync(join(project, 'node_modules/@acme/handlers'), { recursive: true });
    const manifest = { name: '@acme/handlers', type: 'module', exports: './index.js' };
    writeFileSync(join(project, 'node_modules/@acme/handlers/package.json'), JSON.stringify(manifest));
    writeFileSync(join(project, 'node_modules/@acme/handlers/index.js'), PACKAGED);
    writeFileSync(join(project, 'src/handlers.ts'), HANDLERS);
    writeFileSync(join(project, 'src/main.ts'), MAIN);
    cpSync(join(PACKAGE, 'test/seed/process_order_handler.ts'), join(project, 'src/process_order_handler.ts'));
    cpSync(join(PACKAGE, 'test/sdk/exported-types.ts'), join(project, 'src/exported-types.ts'));
  });

  after(() => rmSync(project, { recursive: true, force: true }));

  function compile(options: object): void {
    const config = { compilerOptions: { ...COMPILER_OPTIONS, ...options }, include: ['src'] };
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(config));
    const { status, stdout } = spawnSync(process.execPath, [TSC, '--project', '.'], { cwd: project, encoding: 'utf8' });
    assert.equal(status, 0, stdout);
  }

  it('compiles under strict options, and runs', () => {
    compile({ types: ['node'], lib: ['ES2022'] });
    const run = spawnSync(process.execPath, ['dist/main.js'], { cwd: project, encoding: 'utf8' });
    assert.equal(run.stderr, '');
    assert.deepEqual(JSON.parse(run.stdout), [
      { charged: 5, token: 't', attempt: 0 },
      { processed: true, handler: 'process_order' },
      { from: 'a package' },
    ]);
  });

  it('compiles with the types of browsers instead of those of Node', () => {
    compile({ types: [], lib: ['ES2022', 'DOM', 'DOM.Iterable'] });
  });
});
