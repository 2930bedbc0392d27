/** The package in Bun. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const BUN = fileURLToPath(new URL('../../../node_modules/.bin/bun', import.meta.url));
const SOURCE = new URL('../../src/', import.meta.url).href;
const LEASE = {
  step_uuid: 's',
  lease_id: 1,
  task_sequence_step: {
    task: { task: { context: { n: 20 } } },
    workflow_step: { name: 'double' },
    step_definition: { handler: { callable: 'double' } },
  },
};

// Bun runs TypeScript as it is.
const SCRIPT = `
import { HandlerSystem, StepHandler, type StepContext } from '${SOURCE}index.js';
import { executeLease } from '${SOURCE}execution.js';

export class Double extends StepHandler {
  static handlerName = 'double';
  async call(context: StepContext) {
    return this.success({ n: context.getInputOr('n', 0) * 2 });
  }
}

if (import.meta.main) {
  const system = new HandlerSystem();
  await system.loadFromPath(import.meta.dir + '/handlers');
  const resolve = (definition) => system.resolve(definition);
  const result = await executeLease(${JSON.stringify(LEASE)}, { resolve, signal: AbortSignal.abort(), workerId: 'w' });
  console.log(JSON.stringify(result.result));
}
`;

const works = spawnSync(BUN, ['--version'], { encoding: 'utf8' }).status === 0;

describe('in Bun', { skip: works ? false : 'there is no bun for this machine' }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'tasker-bun-'));

  after(() => rmSync(directory, { recursive: true, force: true }));

  it('a handler in TypeScript is loaded and run', () => {
    writeFileSync(join(directory, 'main.ts'), SCRIPT);
    mkdirSync(join(directory, 'handlers'));
    writeFileSync(join(directory, 'handlers/double.ts'), `export { Double } from '../main.ts';`);
    const run = spawnSync(BUN, ['run', join(directory, 'main.ts')], { encoding: 'utf8' });
    assert.equal(run.stderr, '');
    assert.deepEqual(JSON.parse(run.stdout), { n: 40 });
  });
});
