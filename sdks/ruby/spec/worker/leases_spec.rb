# frozen_string_literal: true

require 'spec_helper'
require_relative 'support/worker_helpers'

RSpec.describe "A worker's leases", :worker do
  let(:noop) { handler { |_context| success(result: {}) } }

  # A handler that waits until it is told to stop, and says so.
  let(:seen) { Thread::Queue.new }
  let(:waiting) do
    told = seen
    handler do |context|
      sleep(0.005) until context.cancelled?
      told << context.step_uuid
      success(result: { late: true })
    end
  end

  def late_results = log_lines.select { |line| line['event'] == 'late_result_dropped' }

  it 'are renewed while handlers block their threads' do
    server(lease_seconds: 0.6)
    blocking = handler { |_| success(result: { slept: sleep(1.5) }) }
    start_worker(registry_of(block: blocking))
    lease, = server.offer(lease_of('block'))
    server.wait_for_result
    beats = server.calls_of('heartbeat').select { |call| call.body['leases'].any? }
    expect(beats.size).to be >= 3
    expect(beats.flat_map { |call| call.body['leases'] }.uniq).to eq([lease.slice('step_uuid', 'lease_id')])
    expect(beats.first.body['wait_seconds']).to be_within(0.01).of(0.2)
  end

  it 'are not renewed for steps that end soon' do
    start_worker(registry_of(charge: noop))
    server.offer(lease_of('charge'))
    server.wait_for_result
    expect(server.calls_of('heartbeat').flat_map { |call| call.body['leases'] }).to eq([])
  end

  it 'that are lost end their handlers, whose results are dropped' do
    start_worker(registry_of(wait: waiting), concurrency: 1)
    lease, = server.offer(lease_of('wait'))
    server.wait_for_call('heartbeat') { |call| call.body['leases'].any? }
    server.lose(lease, reason: 'cancelled')
    expect(Timeout.timeout(FakeServer::PATIENCE) { seen.pop }).to eq(lease['step_uuid'])
    wait_for('the late result') { late_results.any? }
    expect(server.results).to eq([])
    lost = log_lines.find { |line| line['event'] == 'lease_lost' }
    expect(lost).to include('level' => 'warning', 'reason' => 'cancelled', 'step_uuid' => lease['step_uuid'],
                            'lease_id' => lease['lease_id'], 'step' => 'wait', 'template' => 'shop/order')
    server.wait_for_call('lease', count: 2)
  end

  it 'that are new are known to a heartbeat soon, though one is waiting' do
    start_worker(registry_of(wait: waiting), concurrency: 2)
    first, = server.offer(lease_of('wait'))
    server.wait_for_call('heartbeat') { |call| call.body['leases'].size == 1 }
    second, = server.offer(lease_of('wait'))
    started = monotonic
    heartbeat = server.wait_for_call('heartbeat') { |call| call.body['leases'].size == 2 }
    expect(heartbeat.at - started).to be < 8 # the one that waits would end after 10
    [second, first].each do |lease|
      server.lose(lease)
      expect(Timeout.timeout(FakeServer::PATIENCE) { seen.pop }).to eq(lease['step_uuid'])
    end
  end

  it 'go on after a heartbeat that failed' do
    server(lease_seconds: 0.6)
    server.script('heartbeat', 503, server.error('AWAY', 'not now'))
    server.script('heartbeat') { [:hang_up] }
    start_worker(registry_of(wait: waiting))
    lease, = server.offer(lease_of('wait'))
    server.wait_for_call('heartbeat') { |call| call.body['leases'].any? }
    server.lose(lease)
    expect(Timeout.timeout(FakeServer::PATIENCE) { seen.pop }).to eq(lease['step_uuid'])
    expect(events).to include('heartbeat_failed')
  end

  it 'end with a failure when the time of their step is up, and the late result is dropped' do
    gate = Thread::Queue.new
    slow = handler { |context| success(result: { cancelled: gate.pop && context.cancelled? }) }
    start_worker(registry_of(slow: slow, charge: noop), concurrency: 1)
    server.offer(lease_of('slow', timeout: 0.3))
    result = server.wait_for_result
    expect(result['error']).to include('error_type' => 'handler_timeout', 'retryable' => true, 'message' => /300 ms/)
    # The slot is taken until the thread returns.
    server.offer(lease_of('charge'))
    calls = server.calls_of('lease').size
    expect(late_results).to eq([])
    gate << true
    wait_for('the late result') { late_results.any? }
    expect(server.wait_for_results(2).last).to include('success' => true)
    expect(server.calls_of('lease').size).to be > calls
  end
end
