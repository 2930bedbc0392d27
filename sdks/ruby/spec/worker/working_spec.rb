# frozen_string_literal: true

require 'spec_helper'
require_relative 'support/worker_helpers'

RSpec.describe 'A worker', :worker do
  let(:noop) { handler { |_context| success(result: { done: true }) } }

  it 'registers with what it has handlers for, and says who it is' do
    start_worker(registry_of(charge: noop, refund: noop), namespaces: ['shop'], concurrency: 4)
    wait_until_started
    expect(server.calls_of('register').first.body).to eq(
      'callables' => %w[charge refund], 'name' => 'spec', 'namespaces' => ['shop'], 'concurrency' => 4,
      'sdk' => "ruby/#{TaskerCore::VERSION}", 'hostname' => Socket.gethostname, 'pid' => Process.pid,
      'lazy_results' => true
    )
  end

  it 'takes steps from everywhere if nothing else is said' do
    start_worker(registry_of(charge: noop))
    wait_until_started
    expect(server.calls_of('register').first.body).not_to have_key('namespaces')
  end

  it 'waits at the server for as many steps as it has slots, and reports what came of them' do
    start_worker(registry_of(charge: noop), concurrency: 3)
    expect(server.wait_for_call('lease').body).to eq('limit' => 3, 'wait_seconds' => 20.0)
    lease, = server.offer(lease_of('charge'))
    expect(server.wait_for_result).to include('step_uuid' => lease['step_uuid'], 'lease_id' => lease['lease_id'],
                                              'success' => true, 'result' => { 'done' => true })
  end

  it 'never holds more steps than it has slots' do
    gate = Thread::Queue.new
    blocked = handler { |_context| success(result: { gate: gate.pop }) }
    start_worker(registry_of(charge: blocked), concurrency: 2)
    server.offer(*Array.new(5) { lease_of('charge') })
    wait_for('two handlers') { gate.num_waiting == 2 }
    gate << 1
    server.wait_for_results(1)
    wait_for('the next handler') { gate.num_waiting == 2 }
    leases = server.calls_of('lease').map { |call| call.body['limit'] }
    expect(leases).to all(be <= 2)
    expect(server.calls_of('report').first.body['lease']).to eq(1)
    4.times { gate << 1 }
    server.wait_for_results(5)
  end

  it 'runs a chain of steps with one call a step' do
    start_worker(registry_of(charge: noop), concurrency: 1)
    server.wait_for_call('lease')
    chain = Array.new(5) { lease_of('charge') }
    server.offer(*chain)
    server.wait_for_results(5)
    expect(server.calls_of('lease').size).to be <= 2
    expect(server.calls_of('report').map { |call| call.body['lease'] }).to all(eq(1))
  end

  it 'reports together what ends while reports are under way' do
    held = Thread::Queue.new
    2.times do
      server.script('report') do |call|
        held.pop
        [200, { accepted: call.body['results'], refused: [], leases: [], more_ready: false }]
      end
    end
    ended = Thread::Queue.new
    start_worker(registry_of(charge: handler { |_| ended.push(1) && success(result: {}) }), concurrency: 8)
    server.offer(*Array.new(8) { lease_of('charge') })
    wait_for('two reports') { held.num_waiting == 2 && ended.size == 8 }
    2.times { held << true }
    server.wait_for_results(8)
    sizes = server.calls_of('report').map { |call| call.body['results'].size }
    expect(sizes).to all(be <= 4)
    expect(sizes.size).to be <= 5
  end

  it 'keeps its connections' do
    start_worker(registry_of(charge: noop), concurrency: 1)
    server.offer(*Array.new(10) { lease_of('charge') })
    server.wait_for_results(10)
    expect(server.calls_of('report').map { |call| call.connection.object_id }.uniq.size).to be <= 2
  end

  it 'leaves a server alone for a while that answers at once with nothing' do
    20.times { server.script('lease', 200, { leases: [] }) }
    start_worker(registry_of(charge: noop))
    first = server.wait_for_call('lease').at
    third = server.wait_for_call('lease', count: 3).at
    expect(third - first).to be > 1.5
  end

  it 'sends credentials and its name with every call' do
    application = TaskerCore::Worker::Application.new(
      TaskerCore::Settings.new(environment: { 'TASKER_API_KEY' => 'secret' }, server_url: server.url),
      registry: registry_of(charge: noop)
    )
    thread = Thread.new { application.run }
    server.wait_for_call('lease')
    application.stop
    thread.join
    expect(server.calls.map { |call| call.headers['x-api-key'] }.uniq).to eq(['secret'])
    expect(server.calls.map { |call| call.headers['user-agent'] }.uniq).to eq(["ruby/#{TaskerCore::VERSION}"])
  end

  it 'tells subscribers in the process what it does' do
    bridge = TaskerCore::Worker::EventBridge.instance
    told = Thread::Queue.new
    bridge.subscribe_to_step_execution { |lease| told << [:received, lease['step_uuid']] }
    bridge.subscribe_to_step_execution { |_lease| raise 'a subscriber that fails' }
    bridge.subscribe_to_step_completion { |result| told << [:sent, result['step_uuid']] }
    start_worker(registry_of(charge: noop))
    lease, = server.offer(lease_of('charge'))
    heard = Array.new(2) { Timeout.timeout(FakeServer::PATIENCE) { told.pop } }
    expect(heard).to eq([[:received, lease['step_uuid']], [:sent, lease['step_uuid']]])
    expect(events).to include('subscriber_failed')
  ensure
    bridge.clear!
  end

  it 'counts what was recorded, and no checkpoints' do
    kinds = { good: handler { |_| success(result: {}) }, bad: handler { |_| failure(message: 'no') },
              part: handler { |_| TaskerCore::Types::StepHandlerCallResult.checkpoint_yield(cursor: 1, items_processed: 1) } }
    application = start_worker(registry_of(**kinds))
    server.offer(lease_of('good'), lease_of('bad'), lease_of('part'))
    server.wait_for_results(3)
    wait_for('the counts') { application.worker&.counts&.processed == 2 }
    expect(application.status.details).to include(processed: 2, failed: 1, active: 0)
    expect(server.wait_for_result { |result| result['checkpoint'] }['checkpoint']).to include('cursor' => 1)
  end

  it 'gets a large result from the server when the handler asks for it' do
    reader = handler { |context| success(result: { got: context.get_dependency_field('big', 'size') }) }
    server.keep_result('big', { 'success' => true, 'result' => { 'size' => 7 } })
    start_worker(registry_of(read: reader))
    server.offer(lease_of('read', omitted: ['big']))
    expect(server.wait_for_result['result']).to eq('got' => 7)
  end

  it 'tries a step again whose large result cannot be had' do
    reader = handler { |context| success(result: { got: context.get_dependency_field('big', 'size') }) }
    server.script('results', 503, server.error('UNAVAILABLE', 'not now'))
    start_worker(registry_of(read: reader))
    server.offer(lease_of('read', omitted: ['big']))
    expect(server.wait_for_result['error']).to include('retryable' => true, 'message' => /result of step big/)
  end

  it 'gives the slot back of a handler that ends its thread' do
    start_worker(registry_of(leave: handler { |_| Thread.exit }, charge: noop), concurrency: 1)
    server.offer(lease_of('leave'), lease_of('charge'))
    expect(server.wait_for_results(2).map { |result| result['success'] }).to eq([false, true])
  end
end
