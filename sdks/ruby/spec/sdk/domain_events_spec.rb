# frozen_string_literal: true

require_relative 'support/captured_log'

RSpec.describe TaskerCore::DomainEvents do
  include_context 'with a captured log'

  let(:helpers) { TaskerCore::TestHelpers }
  let(:poller) { TaskerCore::Worker::InProcessDomainEventPoller.instance }
  let(:capture) { helpers::EventCapture.new }
  let(:publishers) { TaskerCore::DomainEvents::PublisherRegistry.instance }

  after do
    capture.clear!
    TaskerCore::DomainEvents::SubscriberRegistry.instance.reset!
    publishers.reset!
    poller.stop!
  end

  def publication(name: 'payment.done', step_result: helpers::EventFactory.step_result(result: { 'total' => 5 }))
    { event_name: name, step_result: step_result, event_declaration: helpers::EventFactory.event_declaration(name: name),
      step_context: helpers.make_context(step_name: 'charge') }
  end

  describe 'publishers' do
    it 'make an event of what the handler returned' do
      mock = helpers::MockEventPublisher.new('payments')
      context = publication[:step_context]
      expect(mock.publish(publication.merge(step_context: context))).to be(true)

      event = mock.published_events.first
      expect(event).to include(event_name: 'payment.done', event_version: '1.0.0', business_payload: { 'total' => 5 })
      expect(event[:metadata]).to include(publisher: 'payments', fired_by: 'payments', task_uuid: context.task_uuid,
                                          step_uuid: context.step_uuid, step_name: 'charge', namespace: 'test',
                                          correlation_id: context.correlation_id)
      expect(event[:execution_result]).to include(success: true, status: 'completed')
      expect(event[:context]).to include(task_name: 'test_task', step_name: 'charge')
      expect(event[:event_id]).to match(/\A\h{8}-/)
    end

    it 'do what their subclasses say' do
      calls = []
      publisher = Class.new(helpers::MockEventPublisher) do
        define_method(:transform_payload) { |result, _declaration, _context = nil| { sum: result[:result][:total] } }
        define_method(:should_publish?) { |result, _declaration, _context = nil| result[:success] }
        define_method(:additional_metadata) { |*| { region: 'eu' } }
        define_method(:before_publish) { |name, payload, metadata| calls << [:before, name, payload, metadata[:region]] }
        define_method(:after_publish) { |name, *| calls << [:after, name] }
      end.new

      publisher.publish(publication)
      expect(publisher.published_events.first[:business_payload]).to eq(sum: 5)
      expect(publisher.published_events.first[:metadata]).to include(region: 'eu')
      expect(calls).to eq([[:before, 'payment.done', { sum: 5 }, 'eu'], [:after, 'payment.done']])
      expect(publisher.publish(publication(step_result: helpers::EventFactory.step_result(success: false)))).to be(false)
    end

    it 'tell what went wrong' do
      mock = helpers::MockEventPublisher.new
      mock.simulate_failure!
      expect(mock.publish(publication)).to be(false)
      expect(log).to include('domain_event_not_published', 'simulated failure')
      mock.clear_failure!
      mock.publish(publication)
      mock.publish(publication(name: 'order.done'))
      expect(mock.events_by_name('order.done').size).to eq(1)
      expect(mock.events_matching('payment.*').size).to eq(1)
      expect { mock.clear! }.to change { mock.published_events.size }.from(2).to(0)
    end
  end

  describe TaskerCore::DomainEvents::PublisherRegistry do
    let(:registry) { described_class.new }
    let(:mock) { TaskerCore::TestHelpers::MockEventPublisher.new('payments') }

    it 'finds publishers by name, and the default one' do
      expect(registry).to be_empty
      registry.register(mock)
      expect(registry).to have_attributes(count: 1, registered_names: ['payments'], empty?: false)
      expect(registry.get(:payments)).to equal(mock)
      expect(registry.get('ghost')).to be_nil
      expect(registry.get_or_default('ghost').name).to eq('default')
      expect(registry.get_or_default(nil).name).to eq('default')
      expect(registry.get_strict('default').name).to eq('default')
      expect { registry.get_strict('ghost') }.to raise_error(TaskerCore::DomainEvents::PublisherNotFoundError, /default, payments/)
    end

    it 'does not take two of a name' do
      registry.register(mock)
      expect { registry.register(mock) }.to raise_error(TaskerCore::DomainEvents::DuplicatePublisherError)
      expect do
        registry.register(TaskerCore::DomainEvents::DefaultPublisher.new)
      end.to raise_error(TaskerCore::DomainEvents::DuplicatePublisherError)
      expect(registry.unregister('payments')).to equal(mock)
      expect(registry.registered?('payments')).to be(false)
    end

    it 'can be frozen, and reset' do
      registry.register(mock).then { registry.freeze! }
      expect(registry).to be_frozen
      [-> { registry.register(mock) }, -> { registry.unregister('payments') }, -> { registry.clear }].each do |change|
        expect(&change).to raise_error(TaskerCore::DomainEvents::RegistryFrozenError)
      end
      expect(registry.reset!).to be_empty
      expect(registry).not_to be_frozen
    end

    it 'says which publishers are missing' do
      registry.register(mock)
      expect(registry.validate_required!(%w[payments default])).to be(true)
      expect { registry.validate_required!(%w[payments a b]) }.to raise_error(TaskerCore::DomainEvents::ValidationError, /a, b/)
    end
  end

  describe 'subscribers' do
    let(:subscriber_class) do
      Class.new(described_class::BaseSubscriber) do
        subscribes_to 'payment.*', 'payment.done', 'order.created'
        attr_reader :handled, :errors

        def initialize
          super
          @handled = []
          @errors = []
        end

        def before_handle(event) = event[:business_payload] != :leave_out

        def handle(event)
          raise 'broken' if event[:business_payload] == :break

          handled << event[:event_name]
        end

        def on_handle_error(_event, error) = errors << error.message
      end
    end

    it 'get each event of their patterns once, in order, until they are stopped' do
      subscriber = described_class::SubscriberRegistry.instance.register(subscriber_class)
      described_class::SubscriberRegistry.instance.start_all!
      capture.subscribe_to('*')
      %w[payment.done other order.created].each { |name| described_class.deliver(helpers::EventFactory.domain_event(name: name)) }
      %i[break leave_out].each do |payload|
        described_class.deliver(helpers::EventFactory.domain_event(name: 'payment.done', payload: payload))
      end

      expect(capture.wait_for_events(5)).to be(true)
      expect(subscriber.handled).to eq(%w[payment.done order.created])
      expect(subscriber.errors).to eq(['broken'])
      expect(subscriber).to be_active
      expect(described_class::SubscriberRegistry.instance.stats[:subscribers].size).to eq(1)

      described_class::SubscriberRegistry.instance.stop_all!
      expect(subscriber).not_to be_active
      described_class.deliver(helpers::EventFactory.domain_event(name: 'payment.done'))
      expect(capture.wait_for_events(6)).to be(true)
      expect(subscriber.handled.size).to eq(2)
    end

    it 'start at once if the others are started' do
      registry = described_class::SubscriberRegistry.instance.start_all!
      expect(registry.register_instance(subscriber_class.new)).to be_active
      expect(registry).to have_attributes(started?: true, count: 1)
    end

    it 'get all events if they do not say which' do
      expect(described_class::BaseSubscriber.patterns).to eq(['*'])
      expect(Class.new(subscriber_class).patterns).to eq(%w[payment.* payment.done order.created])
    end
  end

  it 'goes on if a publisher or a subscriber is broken' do
    publishers.register(Class.new(described_class::BasePublisher) do
      def name = 'broken'
      def publish(_publication) = raise('out of order')
    end.new)
    context = helpers.make_context.tap do |made|
      made.step_definition.publishes_events.push({ 'name' => 'a', 'publisher' => 'broken' }, { 'name' => 'b' })
    end
    subscriber = Class.new(described_class::BaseSubscriber) { def handle(_event) = raise('nobody home') }.new.start!
    capture.subscribe_to('*')

    expect(described_class.publish_declared(context, 'success' => true, 'result' => {})).to eq(['b'])
    expect(capture.wait_for_events(1)).to be(true)
    expect(log).to include('domain_event_not_published', 'out of order', 'domain_event_failed', 'nobody home')
  ensure
    subscriber.stop!
  end

  it 'publishes what a step declares for its outcome, when its handler has returned' do
    mock = helpers::MockEventPublisher.new('payments')
    publishers.register(mock)
    capture.subscribe_to('*')
    events = [{ 'name' => 'a', 'condition' => 'success', 'publisher' => 'payments' }, { 'name' => 'b', 'condition' => 'failure' },
              { 'name' => 'c', 'condition' => 'always', 'publisher' => nil }, { 'name' => 'd' },
              { 'name' => 'e', 'condition' => 'unknown' }]
    lease = { 'step_uuid' => 's', 'lease_id' => 1,
              'task_sequence_step' => { 'task' => {}, 'workflow_step' => { 'workflow_step_uuid' => 's', 'name' => 'charge' },
                                        'step_definition' => { 'handler' => { 'callable' => 'h' }, 'publishes_events' => events } } }
    registry = TaskerCore::Registry::HandlerRegistry.new.register_handler('h', ->(_context) { { total: 5 } })
    expect(TaskerCore::Execution.run(lease, registry: registry, worker_id: 'w')).to include('success' => true)

    expect(capture.wait_for_events(2)).to be(true)
    expect(capture.events.map { |event| event[:event_name] }).to eq(%w[c d])
    expect(mock.published_events.map { |event| event[:business_payload] }).to eq([{ 'total' => 5 }])
  end
end
