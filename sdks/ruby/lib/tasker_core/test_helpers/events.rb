# frozen_string_literal: true

module TaskerCore
  module TestHelpers
    # A publisher that keeps its events.
    class MockEventPublisher < DomainEvents::BasePublisher
      # @return [String]
      attr_reader :name
      # @return [Array<Hash>] in the order of their publication
      attr_reader :published_events

      # @param name [String]
      def initialize(name = 'mock')
        super()
        @name = name
        clear!
      end

      # Keeps the event.
      #
      # @return [true]
      def deliver(event)
        raise @failure if @failure

        published_events << event
        true
      end

      # @return [Array<Hash>]
      def events_by_name(event_name)
        published_events.select { |event| event[:event_name] == event_name }
      end

      # @param pattern [String] as of a subscriber
      # @return [Array<Hash>]
      def events_matching(pattern)
        published_events.select { |event| DomainEvents.matches?(pattern, event[:event_name]) }
      end

      # From here on, nothing can be published.
      def simulate_failure!(error = RuntimeError.new('simulated failure'))
        @failure = error
      end

      # Publishes again.
      def clear_failure!
        @failure = nil
      end

      # Forgets events and failure.
      def clear!
        @published_events = []
        @failure = nil
      end
    end

    # Keeps the events that are published in this process.
    class EventCapture
      def initialize
        @events = []
        @lock = Mutex.new
        @arrived = ConditionVariable.new
        @subscriptions = []
      end

      # @param patterns [Array<String>] as of a subscriber
      # @return [self]
      def subscribe_to(*patterns)
        patterns.each { |pattern| @subscriptions << poller.subscribe(pattern) { |event| keep(event) } }
        poller.start!
        self
      end

      # @return [Array<Hash>] in the order of their arrival
      def events
        @lock.synchronize { @events.dup }
      end

      # @return [Array<Hash>]
      def events_by_name(event_name)
        events.select { |event| event[:event_name] == event_name }
      end

      # @param count [Integer]
      # @param timeout [Numeric] seconds
      # @return [Boolean] whether so many arrived in time
      def wait_for_events(count, timeout: 5)
        deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + timeout
        @lock.synchronize do
          while @events.size < count
            left = deadline - Process.clock_gettime(Process::CLOCK_MONOTONIC)
            return false if left <= 0

            @arrived.wait(@lock, left)
          end
        end
        true
      end

      # Forgets events and subscriptions.
      def clear!
        @subscriptions.each { |subscription| poller.unsubscribe(subscription) }
        @subscriptions.clear
        @lock.synchronize { @events.clear }
      end

      private

      def poller
        Worker::InProcessDomainEventPoller.instance
      end

      def keep(event)
        @lock.synchronize do
          @events << event
          @arrived.broadcast
        end
      end
    end

    # Makes what events are made of.
    module EventFactory
      module_function

      # @return [Types::IndifferentHash] a result as it is reported
      def step_result(success: true, result: {}, error: nil, step_uuid: SecureRandom.uuid, **more)
        Types::IndifferentHash.new({ success: success, status: success ? 'completed' : 'failed', result: result,
                                     error: error, step_uuid: step_uuid, metadata: {} }.merge(more))
      end

      # @return [Types::IndifferentHash] what a template says about an event
      def event_declaration(name: 'test.event', condition: 'success', publisher: nil, delivery_mode: 'fast', **more)
        Types::IndifferentHash.new({ name: name, condition: condition, publisher: publisher,
                                     delivery_mode: delivery_mode }.merge(more))
      end

      # @return [Types::StepContext] see {TestHelpers.make_context}
      def step_context(**options)
        TestHelpers.make_context(**options)
      end

      # @return [Hash{Symbol => Object}] an event as subscribers get it
      def domain_event(name: 'test.event', payload: {}, metadata: {}, success: true)
        { event_id: SecureRandom.uuid, event_name: name, event_version: '1.0.0',
          metadata: { task_uuid: SecureRandom.uuid, step_uuid: SecureRandom.uuid, step_name: 'test_step',
                      namespace: 'test', correlation_id: SecureRandom.uuid, fired_at: Time.now.utc.iso8601(6),
                      fired_by: 'test' }.merge(metadata),
          business_payload: payload,
          execution_result: { success: success, status: success ? 'completed' : 'failed' },
          context: { task_name: 'test_task', namespace: 'test', step_name: 'test_step' } }
      end
    end
  end
end
