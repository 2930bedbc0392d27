# frozen_string_literal: true

require 'open3'
require 'spec_helper'
require 'tmpdir'
require_relative 'support/worker_helpers'

RSpec.describe TaskerCore::Worker::Bootstrap, :worker do
  subject(:bootstrap) { Class.new(described_class).instance }

  let(:registry) { TaskerCore::Registry::HandlerRegistry.instance }

  before { registry.register_handler('bootstrap_spec', handler { |_| success(result: {}) }) }

  after do
    bootstrap.shutdown!
    registry.unregister_handler('bootstrap_spec')
  end

  def start!(**options)
    bootstrap.start!(engine_url: server.url, worker_id: 'boot', handle_signals: false, shutdown_timeout: 5, **options)
  end

  it 'starts a worker beside the application, once' do
    expect(bootstrap.status).to eq(:initialized)
    expect(start!(namespace: 'shop', max_concurrent: 2)).to be(bootstrap)
    expect([bootstrap.status, bootstrap.running?]).to eq([:running, true])
    start!
    server.offer(lease_of('bootstrap_spec'))
    expect(server.wait_for_result).to include('success' => true)
    expect(server.calls_of('register').map(&:body)).to match(
      [a_hash_including('name' => 'boot', 'namespaces' => ['shop'], 'concurrency' => 2)]
    )
    expect(bootstrap.health_check).to include(healthy: true, status: :running, name: 'boot')
  end

  it 'stops it, after it has told those who want to know' do
    told = []
    bootstrap.on_shutdown { told << bootstrap.status }
    bootstrap.on_shutdown { raise 'this must not keep it from stopping' }
    start!
    bootstrap.shutdown!
    expect(told).to eq([:shutting_down])
    expect([bootstrap.status, bootstrap.running?]).to eq([:stopped, false])
    expect(bootstrap.health_check).to include(healthy: false, status: :stopped)
    expect(server.calls.last.verb).to eq('deregister')
    expect(bootstrap.shutdown!).to be(bootstrap)
  end

  it 'may be started again' do
    start!.shutdown!
    expect(start!).to be_running
  end

  it 'loads handlers from where an application keeps them' do
    Dir.mktmpdir do |directory|
      File.write(File.join(directory, 'found.rb'), <<~RUBY)
        class BootstrapSpecFound < TaskerCore::StepHandler::Base
          def call(_context) = success(result: {})
        end
      RUBY
      start!(handler_directories: [directory])
    end
    expect(server.calls_of('register').last.body['callables']).to include('BootstrapSpecFound')
  end

  it 'raises what it cannot start for' do
    server.script('register', 401, server.error('UNAUTHORIZED', 'no such key'))
    expect { start! }.to raise_error(TaskerCore::Worker::AccessRefused)
    expect(bootstrap.status).to eq(:stopped)
    expect { start!(max_concurrent: 0) }.to raise_error(TaskerCore::Settings::InvalidError)
  end

  it 'stops worker and process in good order on SIGTERM' do
    lib = File.expand_path('../../lib', __dir__)
    script = <<~RUBY
      require 'tasker_core'
      TaskerCore::Registry::HandlerRegistry.instance.register_handler('x', Class.new(TaskerCore::StepHandler::Base))
      at_exit { puts TaskerCore::Worker::Bootstrap.status }
      TaskerCore::Worker::Bootstrap.start!(engine_url: ARGV.first)
      puts 'started'
      $stdout.flush
      sleep
    RUBY
    Open3.popen2(RbConfig.ruby, '-I', lib, '-e', script, server.url, err: File::NULL) do |_, output, process|
      expect(output.gets).to eq("started\n")
      Process.kill(:TERM, process.pid)
      expect(output.gets).to eq("stopped\n")
      expect(process.value.exitstatus).to eq(0)
    end
    expect(server.calls.last.verb).to eq('deregister')
  end

  it 'leaves signals alone that the application handles' do
    caught = Thread::Queue.new
    before = trap('TERM') { caught << :application }
    bootstrap.start!(engine_url: server.url, handle_signals: nil)
    Process.kill(:TERM, Process.pid)
    expect(Timeout.timeout(FakeServer::PATIENCE) { caught.pop }).to eq(:application)
    expect(bootstrap).to be_running
  ensure
    trap('TERM', before)
  end
end

RSpec.describe TaskerCore::Observability do
  it 'tells that no worker was started' do
    expect(described_class.health_basic).to eq(status: 'healthy', worker_id: nil)
    expect(described_class.health_ready).to eq(status: 'not_ready', reasons: ['it has not started yet'])
    expect(described_class).not_to be_ready
    expect(described_class).to be_alive
    expect(described_class.health_detailed).to eq(healthy: false, status: :initialized)
    expect(described_class.metrics_worker).to eq(processed: 0, succeeded: 0, failed: 0, active: 0)
    expect(described_class.prometheus_metrics).to eq('')
  end
end
