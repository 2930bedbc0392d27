# frozen_string_literal: true

require 'spec_helper'
require_relative 'support/worker_helpers'

RSpec.describe 'A worker whose server is away', :worker do
  let(:noop) { handler { |_context| success(result: {}) } }
  let(:registry) { registry_of(charge: noop) }

  it 'waits longer each time, and recovers before it leases again' do
    3.times { server.script('lease', 500, server.error('INTERNAL', 'broken')) }
    start_worker(registry)
    times = [0, 1, 2].map { |index| server.wait_for_call('lease', count: index + 1).at }
    expect(times[1] - times[0]).to be > 0.19
    expect(times[2] - times[1]).to be > 0.39
    server.wait_for_call('lease', count: 4)
    verbs = server.calls.map(&:verb) - %w[register heartbeat]
    expect(verbs.first(7)).to eq(%w[lease recover lease recover lease recover lease])
    expect(log_lines.select { |line| line['event'] == 'server_unavailable' }.size).to eq(3)
  end

  it 'waits as long as Retry-After says' do
    server.script('lease', 503, server.error('BUSY', 'later'), 'Retry-After' => '1')
    start_worker(registry)
    first = server.wait_for_call('lease').at
    expect(server.wait_for_call('recover').at - first).to be > 0.99
  end

  it 'takes 408, 429 and a connection that breaks for an outage, too' do
    server.script('lease', 408, server.error('TIMEOUT', 'slow'))
    server.script('lease', 429, server.error('RATE', 'slow down'))
    server.script('lease') { [:hang_up] }
    start_worker(registry)
    server.wait_for_call('lease', count: 4)
    server.offer(lease_of('charge'))
    expect(server.wait_for_result).to include('success' => true)
  end

  it 'starts what was granted in an answer that got lost' do
    server.script('lease', 500, server.error('INTERNAL', 'broken'))
    unheard = lease_of('charge')
    server.grant_unheard(unheard)
    start_worker(registry)
    expect(server.wait_for_result['step_uuid']).to eq(unheard['step_uuid'])
  end

  it 'keeps results until the server takes them' do
    4.times { server.script('report', 503, server.error('AWAY', 'not now')) }
    start_worker(registry)
    lease, = server.offer(lease_of('charge'))
    wait_for('a report that was taken') { server.calls_of('report').size == 5 }
    uuids = server.calls_of('report').map { |call| call.body['results'].map { |result| result['step_uuid'] } }
    expect(uuids).to eq([[lease['step_uuid']]] * 5)
  end

  it 'survives the death of the server, and lets handlers go on meanwhile' do
    gate = Thread::Queue.new
    application = start_worker(registry_of(charge: handler { |_| success(result: { gate: gate.pop }) }))
    lease, = server.offer(lease_of('charge'))
    wait_for('the handler') { gate.num_waiting == 1 }
    server.stop
    wait_for('the loss') { !application.worker.in_contact? }
    expect(application.status.reasons).to eq(['the server does not answer'])
    gate << 'done'
    server.restart
    result = server.wait_for_result
    expect(result).to include('step_uuid' => lease['step_uuid'], 'result' => { 'gate' => 'done' })
    wait_for('contact') { application.status.ready? }
  end

  it 'registers again when the server has forgotten it, and stops the handlers of what it held' do
    seen = Thread::Queue.new
    waiting = handler do |context|
      sleep(0.005) until context.cancelled?
      seen << :cancelled
      success(result: {})
    end
    start_worker(registry_of(wait: waiting, charge: noop), concurrency: 2)
    lost, = server.offer(lease_of('wait'))
    server.wait_for_call('lease', count: 2)
    server.forget_workers
    server.offer(lease_of('charge')) # ends the lease call that waits under the old id
    expect(Timeout.timeout(10) { seen.pop }).to eq(:cancelled)
    server.wait_for_call('register', count: 2)
    fresh, = server.offer(lease_of('charge'))
    server.wait_for_result { |result| result['step_uuid'] == fresh['step_uuid'] }
    expect(server.results.map { |result| result['step_uuid'] }).not_to include(lost['step_uuid'])
    expect(server.calls_of('register').last.body).not_to have_key('worker_id')
    expect(events).to include('lease_lost')
  end

  it 'stops for good when its credentials are refused' do
    application = start_worker(registry)
    wait_until_started
    server.script('lease', 401, server.error('UNAUTHORIZED', 'the key was revoked'))
    server.offer(lease_of('charge')) # ends the lease call that waits
    expect { end_of(application) }.to raise_error(TaskerCore::Worker::AccessRefused, /401 UNAUTHORIZED: the key was rev/)
  end

  it 'does not start where it is not let in, or where no Tasker is' do
    server.script('register', 403, server.error('FORBIDDEN', 'not for you'))
    start_worker(registry)
    expect { wait_until_started }.to raise_error(an_instance_of(TaskerCore::Worker::AccessRefused).and(be_credentials))
    server.script('register', 404, server.error('NOT_FOUND', 'nothing here'))
    start_worker(registry)
    expect { wait_until_started }.to raise_error(an_object_having_attributes(status: 404, credentials?: false))
  end

  it 'waits at its start for a server that is not there yet' do
    server.stop
    start_worker(registry)
    wait_for('a try') { events.include?('server_unavailable') }
    server.restart
    wait_until_started
    expect(server.wait_for_call('lease')).not_to be_nil
  end

  it 'gives up if it does not come in time' do
    server.stop
    start_worker(registry, wait_for: 0.3)
    expect { wait_until_started }.to raise_error(TaskerCore::Worker::ServerUnavailable, /no connection/)
  end
end
