# frozen_string_literal: true

require 'net/http'
require 'spec_helper'
require_relative 'support/worker_helpers'

RSpec.describe TaskerCore::Worker::HealthEndpoint, :worker do
  let(:noop) { handler { |_context| success(result: {}) } }
  let(:port) { log_lines.find { |line| line['event'] == 'health_endpoint' }['port'] }

  def start(registry = registry_of(charge: noop))
    start_worker(registry, health_bind: '127.0.0.1:0').tap { wait_for('the endpoint') { events.include?('health_endpoint') } }
  end

  def get(path) = Net::HTTP.get_response('127.0.0.1', path, port)

  def json(path) = JSON.parse(get(path).body)

  it 'answers that the process runs' do
    start
    expect([get('/health').code, get('/health/live').code, get('/health?x=1').code]).to eq(%w[200 200 200])
    expect(get('/nothing').code).to eq('404')
    expect(Net::HTTP.post(URI("http://127.0.0.1:#{port}/health"), '{}', 'Content-Type' => 'application/json').code).to eq('405')
  end

  it 'is ready while the worker takes steps, and not while it stops' do
    gate = Thread::Queue.new
    application = start(registry_of(held: handler { |_| success(result: { gate: gate.pop }) }))
    wait_until_started
    expect(get('/health/ready').code).to eq('200')
    server.offer(lease_of('held'))
    wait_for('the handler') { gate.num_waiting == 1 }
    application.stop
    expect(get('/health/ready').code).to eq('503')
    expect(json('/health/ready')).to eq('status' => 'not_ready', 'reasons' => ['it is stopping'])
    gate << 1
  end

  it 'is not ready without handlers' do
    start(registry_of)
    wait_until_started
    expect(json('/health/ready')['reasons']).to include('there are no handlers')
  end

  it 'is not ready while the server is away' do
    application = start
    wait_until_started
    server.stop
    wait_for('the loss') { !application.worker.in_contact? }
    expect(get('/health/ready').code).to eq('503')
    expect(get('/health').code).to eq('200')
    expect(get('/metrics').body).to include("tasker_worker_connected 0\n")
    server.restart
    wait_for('contact') { get('/health/ready').code == '200' }
  end

  it 'tells everything' do
    application = start
    server.offer(lease_of('charge'))
    wait_for('the step') { application.worker&.counts&.processed == 1 }
    expect(json('/health/detailed')).to include(
      'status' => 'healthy', 'worker_id' => application.worker_id, 'running' => true, 'processed' => 1, 'failed' => 0,
      'active' => 0, 'uptime_seconds' => Float, 'server' => server.url, 'handlers' => ['charge']
    )
    expect(get('/metrics').body).to include(
      "tasker_worker_steps_total{outcome=\"succeeded\"} 1\n", "tasker_worker_steps_total{outcome=\"failed\"} 0\n",
      "tasker_worker_running_handlers 0\n", "tasker_worker_connected 1\n"
    )
    expect(get('/metrics')['content-type']).to start_with('text/plain')
  end

  it 'is not held up by a client that says nothing' do
    start
    silent = TCPSocket.new('127.0.0.1', port)
    expect(get('/health').code).to eq('200')
    silent.close
  end
end
