# frozen_string_literal: true

require 'spec_helper'
require 'tmpdir'

RSpec.describe TaskerCore::Settings do
  def settings(environment = {}, **given) = described_class.new(environment: environment, **given)

  it 'has defaults for everything' do
    expect(settings).to have_attributes(
      server_url: 'http://localhost:8080', credentials: {}, timeout_seconds: 30.0, namespaces: [],
      worker_name: 'ruby_worker', concurrency: 10, shutdown_timeout: 30.0, wait_for: 60.0, template_path: nil,
      health_bind: nil
    )
  end

  it 'reads the environment' do
    read = settings({ 'TASKER_ORCHESTRATION_URL' => 'https://tasker.example/', 'TASKER_NAMESPACE' => 'shop, ledger,shop',
                      'TASKER_INSTANCE_ID' => 'second', 'TASKER_MAX_CONCURRENT' => '3',
                      'TASKER_ORCHESTRATION_TIMEOUT_MS' => '1500', 'TASKER_WORKER_HEALTH_BIND' => '[::1]:8081' })
    expect(read).to have_attributes(server_url: 'https://tasker.example', namespaces: %w[shop ledger],
                                    worker_name: 'second', concurrency: 3, timeout_seconds: 1.5,
                                    health_bind: ['::1', 8081])
  end

  it 'lets what is given win' do
    expect(settings({ 'TASKER_WORKER_ID' => 'first' }, worker_name: 'given').worker_name).to eq('given')
    expect(settings({ 'TASKER_WORKER_ID' => 'first' }, worker_name: nil).worker_name).to eq('first')
  end

  it 'takes the first credential that there is' do
    all = { 'TASKER_ORCHESTRATION_AUTH_TOKEN' => 'a', 'TASKER_AUTH_TOKEN' => 'b', 'TASKER_API_KEY' => 'c' }
    expect(settings(all).credentials).to eq('Authorization' => 'Bearer a')
    expect(settings(all.slice('TASKER_AUTH_TOKEN', 'TASKER_API_KEY')).credentials).to eq('Authorization' => 'Bearer b')
    expect(settings(all.slice('TASKER_API_KEY')).credentials).to eq('X-API-Key' => 'c')
    expect(settings({ 'TASKER_API_KEY' => 'c', 'TASKER_API_KEY_HEADER' => 'X-Key' }).credentials).to eq('X-Key' => 'c')
  end

  {
    { server_url: 'tasker' } => /must begin with http/, { server_url: 'http://' } => /must begin with http/,
    { concurrency: '0' } => /concurrency must be a number from 1/, { concurrency: '2.5' } => /whole number/,
    { shutdown_timeout: 'soon' } => /shutdown_timeout must be a number of at least 0, not "soon"/,
    { template_path: '/no/where' } => %r{no file or directory of templates at /no/where},
    { health_bind: '8081' } => /HOST:PORT/, { health_bind: 'host:99999' } => /HOST:PORT/
  }.each do |given, message|
    it("refuses #{given}") { expect { settings(**given) }.to raise_error(described_class::InvalidError, message) }
  end
end
