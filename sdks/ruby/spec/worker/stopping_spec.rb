# frozen_string_literal: true

require 'spec_helper'
require_relative 'support/worker_helpers'

RSpec.describe 'A worker that is stopped', :worker do
  let(:noop) { handler { |_context| success(result: {}) } }
  let(:gate) { Thread::Queue.new }
  let(:held) do
    opened = gate
    handler { |_| success(result: { gate: opened.pop }) }
  end

  def verbs = server.calls.map(&:verb)

  it 'ends the lease call that waits and says goodbye' do
    application = start_worker(registry_of(charge: noop))
    server.wait_for_call('lease')
    started = monotonic
    stop_worker(application)
    expect(monotonic - started).to be < 15 # the call would wait 20
    expect(verbs.last).to eq('deregister')
    expect(events).to include('worker_registered', 'worker_started', 'worker_stopped')
  end

  it 'lets running handlers finish, reports them, and leases nothing more' do
    application = start_worker(registry_of(held: held))
    server.offer(lease_of('held'))
    wait_for('the handler') { gate.num_waiting == 1 }
    application.stop
    expect(application.status.reasons).to include('it is stopping')
    leases = server.calls_of('lease').size
    gate << 'done'
    end_of(application)
    expect(server.results.map { |result| result['result'] }).to eq([{ 'gate' => 'done' }])
    expect(server.calls_of('report').last.body['lease']).to eq(0)
    expect(server.calls_of('lease').size).to eq(leases)
    expect(verbs.last).to eq('deregister')
  end

  it 'reports what does not finish in time as to be tried elsewhere' do
    application = start_worker(registry_of(held: held), shutdown_timeout: 0.2)
    server.offer(lease_of('held'))
    wait_for('the handler') { gate.num_waiting == 1 }
    stop_worker(application)
    expect(server.results.map { |result| result['error'] }).to match(
      [a_hash_including('error_type' => 'worker_shutdown', 'retryable' => true)]
    )
    expect(events).to include('drain_timeout')
    gate << 'too late'
  end

  it 'gives back what a lease call that was cut short was granted' do
    application = start_worker(registry_of(charge: noop))
    server.wait_for_call('lease')
    unheard = lease_of('charge')
    server.grant_unheard(unheard)
    stop_worker(application)
    expect(server.calls_of('release').flat_map { |call| call.body['leases'] })
      .to eq([unheard.slice('step_uuid', 'lease_id')])
    expect(server.results).to eq([])
  end

  it 'gives back steps that a report under way brings' do
    brought = lease_of('charge')
    opened = gate
    server.script('report') do |call|
      opened.pop
      [200, { accepted: call.body['results'], refused: [], leases: [brought], more_ready: false }]
    end
    application = start_worker(registry_of(charge: noop))
    server.offer(lease_of('charge'))
    wait_for('the report') { opened.num_waiting == 1 }
    application.stop
    opened << true
    end_of(application)
    expect(server.calls_of('release').flat_map { |call| call.body['leases'] })
      .to include(brought.slice('step_uuid', 'lease_id'))
    expect(server.results.size).to eq(1)
  end

  it 'reports what it has though the server is away just now' do
    2.times { server.script('report', 503, server.error('AWAY', 'not now')) }
    application = start_worker(registry_of(held: held))
    server.offer(lease_of('held'))
    wait_for('the handler') { gate.num_waiting == 1 }
    application.stop
    gate << 'done'
    end_of(application)
    expect(server.calls_of('report').size).to eq(3)
  end

  it 'ends without a server, too' do
    application = start_worker(registry_of(charge: noop))
    server.wait_for_call('lease')
    server.stop
    stop_worker(application)
    expect(events).to include('deregistration_failed')
  end

  it 'ends while it still waits for the server' do
    server.stop
    application = start_worker(registry_of(charge: noop))
    wait_for('a try') { events.include?('server_unavailable') }
    stop_worker(application)
    expect(verbs).to eq([])
  end
end
