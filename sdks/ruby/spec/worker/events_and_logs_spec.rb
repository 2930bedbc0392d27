# frozen_string_literal: true

require 'spec_helper'
require 'stringio'
require 'tmpdir'
require_relative 'support/worker_helpers'

RSpec.describe TaskerCore::Worker::InProcessDomainEventPoller do
  subject(:poller) { Class.new(described_class).instance }

  after { poller.stop! }

  def event(name) = { event_name: name }

  {
    ['*', 'payment.done'] => true, ['payment.*', 'payment.done'] => true, ['payment.*', 'payment.card.done'] => true,
    ['payment.*', 'payments.done'] => false, ['order.created', 'order.created'] => true,
    ['order.created', 'order.createdX'] => false, ['order.created', 'payment.done'] => false
  }.each do |(pattern, name), expected|
    it("#{expected ? 'matches' : 'does not match'} #{name} with #{pattern}") do
      expect(described_class.matches?(pattern, name)).to be(expected)
    end
  end

  it 'hands events on in their order' do
    seen = []
    poller.subscribe('payment.*') { |each| seen << each[:event_name] }
    poller.start!
    %w[payment.a order.b payment.c].each { |name| expect(poller.publish(event(name))).to be(true) }
    poller.stop!
    expect(seen).to eq(%w[payment.a payment.c])
    expect(poller.stats).to eq(active: false, subscribers: 1, published: 3, delivered: 2, failed: 0)
  end

  it 'takes no events while it is not active' do
    expect([poller.active?, poller.publish(event('a'))]).to eq([false, false])
    poller.start!.start!
    expect(poller).to be_active
  end

  it 'goes on after a subscriber that raises' do
    before = TaskerCore::Logger.instance.output
    TaskerCore::Logger.instance.output = log = StringIO.new
    seen = []
    poller.subscribe { |_| raise 'no' }
    poller.subscribe { |each| seen << each[:event_name] }
    poller.start!.publish(event('a'))
    poller.stop!
    expect(seen).to eq(['a'])
    expect(poller.stats).to include(delivered: 1, failed: 1)
    expect(log.string).to include('domain_event_failed')
  ensure
    TaskerCore::Logger.instance.output = before
  end

  it 'forgets subscriptions, one by one or all of a pattern' do
    one = poller.subscribe('a') { |_| nil }
    2.times { poller.subscribe('b') { |_| nil } }
    poller.unsubscribe(one)
    expect(poller.subscriber_count).to eq(2)
    poller.unsubscribe('b')
    expect(poller.subscriber_count).to eq(0)
    poller.subscribe('c') { |_| nil }
    poller.clear_subscriptions!
    expect(poller.subscriber_count).to eq(0)
  end
end

RSpec.describe TaskerCore::Worker::EventBridge do
  subject(:bridge) { Class.new(described_class).instance }

  it 'knows its events only' do
    expect { bridge.subscribe('step.unknown') { |_| nil } }.to raise_error(ArgumentError, /no event/)
    expect { bridge.subscribe('bridge.error') }.to raise_error(ArgumentError, /block/)
  end

  it 'calls a block no more that is unsubscribed' do
    seen = []
    block = bridge.subscribe_to_step_execution { |lease| seen << lease }
    bridge.publish('step.execution.received', 1)
    bridge.unsubscribe('step.execution.received', block)
    bridge.publish('step.execution.received', 2)
    expect(seen).to eq([1])
  end
end

RSpec.describe TaskerCore::Logger, :worker do
  subject(:logger) { described_class.instance }

  it 'writes one JSON object a line' do
    logger.warn('lease_lost', step: 'charge', at: 1.5, list: [:a, nil], deep: { 'k' => true })
    expect(log_lines.first).to match(
      'timestamp' => /\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\z/, 'level' => 'warning', 'event' => 'lease_lost',
      'logger' => 'tasker', 'step' => 'charge', 'at' => 1.5, 'list' => ['a', nil], 'deep' => { 'k' => true }
    )
  end

  it 'writes whatever it is given' do
    logger.error("half a character: \xFF", { nan: Float::NAN }, object: Object)
    expect(log_lines.first).to include('nan' => 'NaN', 'object' => 'Object')
  end

  it 'writes text for people' do
    logger.format = :console
    logger.info('worker_started', worker: 'billing', steps: 3)
    expect(@log.string).to match(/\A\S+Z INFO  tasker: worker_started worker=billing steps=3\n\z/)
  end

  it 'leaves out what is less important than the level' do
    logger.level = :warn
    logger.info('no') { raise 'nobody asks for the message' }
    logger.fatal('yes')
    expect(events).to eq(['yes'])
    expect([logger.info?, logger.error?]).to eq([false, true])
    expect { logger.level = :loud }.to raise_error(ArgumentError)
  end

  { 'debug' => :debug, 'info,tasker=debug' => :info, 'WARN' => :warn, 'tasker=trace' => :info, '' => :info,
    'off' => :off, 'warning' => :warn }.each do |text, level|
    it("reads #{text.inspect} as #{level}") { expect(described_class.level_in(text)).to eq(level) }
  end

  it 'logs about tasks and steps' do
    logger.log_step(:info, :retried, step: 'charge')
    logger.log_task(:debug, :unseen)
    expect(log_lines).to match([a_hash_including('event' => 'retried', 'logger' => 'tasker.step', 'step' => 'charge')])
  end

  it 'does not stop the work if it cannot write' do
    logger.output = StringIO.new.tap(&:close_write)
    expect(logger.info('lost')).to be_nil
  end

  it 'is what handlers trace with' do
    TaskerCore::Tracing.info('charged', 'order' => 'A-1', cents: 5)
    TaskerCore::Tracing.trace('unseen')
    expect(log_lines).to match([a_hash_including('event' => 'charged', 'logger' => 'tasker.handler', 'order' => 'A-1', 'cents' => 5)])
  end
end

RSpec.describe TaskerCore::TestEnvironment do
  around do |example|
    before = ENV.fetch('TASKER_ENV', nil)
    example.run
    ENV['TASKER_ENV'] = before
  end

  it 'loads handlers for tests, in tests only' do
    Dir.mktmpdir do |directory|
      File.write(File.join(directory, 'loaded.rb'), "$loaded_by_test_environment = true\n")
      ENV['TASKER_ENV'] = 'production'
      expect(described_class.load_if_test!([directory])).to eq([])
      ENV['TASKER_ENV'] = 'test'
      expect(described_class.load_if_test!([directory]).size).to eq(1)
      expect($loaded_by_test_environment).to be(true)
    end
  end
end
