# frozen_string_literal: true

require 'spec_helper'
require_relative 'support/worker_helpers'

RSpec.describe 'A result', :worker do
  let(:noop) { handler { |_context| success(result: {}) } }

  def refuse(reason, detail: nil)
    server.script('report') do |call|
      refused = call.body['results'].map { |result| result.slice('step_uuid', 'lease_id').merge(reason: reason, detail: detail) }
      [200, { accepted: [], refused: refused, leases: [], more_ready: false }]
    end
  end

  %w[lease_lost duplicate].each do |reason|
    it "that is refused as #{reason} is dropped" do
      refuse(reason)
      application = start_worker(registry_of(charge: noop))
      server.offer(lease_of('charge'))
      server.wait_for_result
      wait_for('the drop') { application.worker.running.zero? }
      expect(server.results.size).to eq(1)
      expect(application.worker.counts.processed).to eq(0)
      expect(events).to include('report_refused')
    end
  end

  %w[malformed not_recordable].each do |reason|
    it "that is refused as #{reason} is reported as a failure" do
      refuse(reason, detail: 'there is a NUL in it')
      start_worker(registry_of(charge: noop))
      server.offer(lease_of('charge'))
      failure = server.wait_for_results(2).last
      expect(failure['error']).to include('error_type' => 'result_refused', 'retryable' => false,
                                          'message' => 'the result cannot be recorded: there is a NUL in it')
      expect(events).to include('report_failed')
    end
  end

  it 'whose failure cannot be recorded either is left to expire' do
    2.times { refuse('malformed') }
    application = start_worker(registry_of(charge: noop))
    server.offer(lease_of('charge'))
    server.wait_for_results(2)
    wait_for('the end') { application.worker.running.zero? }
    expect(server.results.size).to eq(2)
  end

  it 'that makes the server refuse the whole report is found and reported as a failure' do
    held = Thread::Queue.new
    server.script('report') do |_call|
      held.pop
      [422, server.error('INVALID', 'something is wrong')]
    end
    server.script('report') do |_call|
      held.pop
      [422, server.error('INVALID', 'something is wrong')]
    end
    start_worker(registry_of(charge: noop), concurrency: 4)
    server.offer(*Array.new(4) { lease_of('charge') })
    wait_for('the reports') { held.num_waiting.positive? }
    4.times { held << true }
    expect(wait_for('all results') { server.results.map { |result| result['step_uuid'] }.uniq.size == 4 }).to be(true)
    server.wait_for_result { |result| result['success'] || result.dig('error', 'error_type') == 'result_refused' }
  end

  it 'that is too large to send is reported as a failure' do
    large = handler { |_| success(result: { text: 'x' * (16 * 1024 * 1024) }) }
    start_worker(registry_of(large: large))
    server.offer(lease_of('large'))
    expect(server.wait_for_result['error']).to include('error_type' => 'result_refused', 'message' => /can be sent/)
  end

  it 'that is large goes into a report of its own' do
    held = Thread::Queue.new
    2.times do
      server.script('report') do |call|
        held.pop
        [200, { accepted: call.body['results'], refused: [], leases: [], more_ready: false }]
      end
    end
    ended = Thread::Queue.new
    large = handler do |_|
      ended << true
      success(result: { text: 'x' * (5 * 1024 * 1024) })
    end
    start_worker(registry_of(large: large), concurrency: 6)
    server.offer(*Array.new(6) { lease_of('large') })
    wait_for('all results') { ended.size == 6 && held.num_waiting == 2 }
    2.times { held << true }
    server.wait_for_results(6)
    expect(server.calls_of('report').map { |call| call.text.bytesize }).to all(be < 8 * 1024 * 1024)
  end
end
