# frozen_string_literal: true

require 'spec_helper'
require_relative 'support/worker_helpers'

RSpec.describe TaskerCore::Client, :worker do
  around do |example|
    before = ENV.to_h
    ENV['TASKER_ORCHESTRATION_URL'] = server.url
    ENV['TASKER_API_KEY'] = 'secret'
    described_class.reset!
    example.run
    ENV.replace(before)
    described_class.reset!
  end

  let(:task) do
    { 'task_uuid' => 'T', 'name' => 'order', 'status' => 'pending', 'steps' => [{ 'name' => 'charge' }], 'new' => 1 }
  end

  def error_of
    yield
    raise 'nothing was raised'
  rescue described_class::Error => e
    e
  end

  it 'creates a task with defaults for everything but its name' do
    server.script('POST /v1/tasks', 200, task)
    created = described_class.create_task(name: 'order')
    expect(created).to be_a(TaskerCore::Types::ClientTaskResponse).and have_attributes(task_uuid: 'T', status: 'pending')
    expect(created.steps.first).to have_attributes(name: 'charge')
    call = server.calls.first
    expect(call.body).to eq(
      'name' => 'order', 'namespace' => 'default', 'context' => {}, 'version' => '1.0.0',
      'initiator' => 'tasker-core-ruby', 'source_system' => 'tasker-core', 'reason' => 'Task requested'
    )
    expect(call.headers).to include('x-api-key' => 'secret', 'content-type' => 'application/json')
  end

  it 'sends what else is given, and the context of a Rails request' do
    parameters = Struct.new(:to_unsafe_h).new({ 'order' => 'A-1' })
    server.script('POST /v1/tasks', 200, task)
    described_class.create_task(name: 'order', context: parameters, tags: ['vip'], idempotency_key: 'key', priority: nil)
    body = server.calls.first.body
    expect(body).to include('context' => { 'order' => 'A-1' }, 'tags' => ['vip'], 'idempotency_key' => 'key')
    expect(body).not_to have_key('priority')
  end

  it 'gets and cancels a task' do
    server.script('GET /v1/tasks/T', 200, task)
    server.script('DELETE /v1/tasks/T', 200, task.merge('status' => 'cancelled'))
    expect(described_class.get_task('T').name).to eq('order')
    expect(described_class.cancel_task('T').status).to eq('cancelled')
  end

  it 'lists tasks by pages' do
    page = { 'page' => 3, 'per_page' => 20, 'total_count' => 50, 'total_pages' => 3, 'has_next' => false,
             'has_previous' => true }
    path = 'GET /v1/tasks?page=3&per_page=20&namespace=shop&status=complete'
    server.script(path, 200, { tasks: [task], pagination: page })
    found = described_class.list_tasks(limit: 20, offset: 45, namespace: 'shop', status: 'complete')
    expect(found.tasks.map(&:task_uuid)).to eq(['T'])
    expect(found.pagination).to have_attributes(total_count: 50, has_previous: true)
  end

  it 'looks at steps' do
    step = { 'step_uuid' => 'S', 'name' => 'charge', 'current_state' => 'complete', 'attempts' => 1 }
    server.script('GET /v1/tasks/T/workflow_steps', 200, [step])
    server.script('GET /v1/tasks/T/workflow_steps/S', 200, step)
    server.script('GET /v1/tasks/T/workflow_steps/S/audit', 200, [{ 'audit_uuid' => 'A', 'success' => true }])
    expect(described_class.list_task_steps('T').map(&:current_state)).to eq(['complete'])
    expect(described_class.get_step('T', 'S')).to have_attributes(attempts: 1)
    expect(described_class.get_step_audit_history('T', 'S').first).to have_attributes(audit_uuid: 'A', success: true)
  end

  it 'asks for health' do
    server.script('GET /health', 200, { status: 'healthy', timestamp: 'now' })
    expect(described_class.health_check).to be_healthy
  end

  it 'returns an answer of another shape as it is' do
    server.script('GET /v1/tasks/T', 200, { 'moved' => true })
    expect(described_class.get_task('T')).to eq('moved' => true)
  end

  it 'tells what the server said' do
    details = [{ 'field' => 'context', 'message' => 'guest is missing' }]
    server.script('POST /v1/tasks', 422, server.error('INVALID', 'The context is wrong', details: details))
    error = error_of { described_class.create_task(name: 'order') }
    expect(error).to have_attributes(operation: 'create_task', status_code: 422, code: 'INVALID', details: details,
                                     message: 'create_task failed: The context is wrong', recoverable?: false)
    expect(server.calls.size).to eq(1)
  end

  it 'reads again what a server could not tell, up to four times' do
    3.times { server.script('GET /v1/tasks/T', 503, server.error('AWAY', 'not now')) }
    server.script('GET /v1/tasks/T', 200, task)
    expect(described_class.get_task('T').task_uuid).to eq('T')
    4.times { server.script('GET /v1/tasks/T', 503, server.error('AWAY', 'not now')) }
    expect(error_of { described_class.get_task('T') }).to have_attributes(status_code: 503, recoverable?: true)
    expect(server.calls.size).to eq(8)
  end

  it 'waits as long as Retry-After says' do
    server.script('GET /v1/tasks/T', 429, server.error('RATE', 'slow'), 'Retry-After' => '1')
    server.script('GET /v1/tasks/T', 200, task)
    described_class.get_task('T')
    first, second = server.calls.map(&:at)
    expect(second - first).to be > 0.99
  end

  it 'creates a task a second time only if that is safe' do
    server.script('POST /v1/tasks', 503, server.error('AWAY', 'not now'))
    expect(error_of { described_class.create_task(name: 'order') }.status_code).to eq(503)
    server.script('POST /v1/tasks') { [:hang_up] }
    expect(error_of { described_class.create_task(name: 'order') }.status_code).to be_nil
    expect(server.calls.size).to eq(2)
    server.script('POST /v1/tasks') { [:hang_up] }
    server.script('POST /v1/tasks', 200, task)
    expect(described_class.create_task(name: 'order', idempotency_key: 'A-1').task_uuid).to eq('T')
  end

  it 'tells that nobody answers' do
    server.stop
    allow_any_instance_of(described_class::Caller).to receive(:sleep)
    error = error_of { described_class.get_task('T') }
    expect(error).to have_attributes(status_code: nil, unsent?: true, recoverable?: true)
  end

  it 'may be used by many threads at once' do
    20.times { server.script('GET /v1/tasks/T', 200, task) }
    found = Array.new(20) { Thread.new { described_class.get_task('T').task_uuid } }.map(&:value)
    expect(found).to eq(['T'] * 20)
  end
end
