# frozen_string_literal: true

require 'singleton'
require 'tasker_core/logger'

module TaskerCore
  module Worker
    # Tells subscribers in this process what the worker does. They are called on the worker's threads, so they must be
    # quick; what they raise is logged, published as {ERROR}, and changes nothing else.
    #
    # @example
    #   TaskerCore::Worker::EventBridge.instance.subscribe_to_step_completion { |result| puts result['step_uuid'] }
    class EventBridge
      include Singleton

      # A step was leased and its handler is about to run; with the lease.
      STEP_RECEIVED = 'step.execution.received'

      # A result was recorded by the server; with the result.
      COMPLETION_SENT = 'step.completion.sent'

      # A checkpoint was recorded by the server; with the result that holds it.
      CHECKPOINT_SENT = 'step.checkpoint_yield.sent'

      # A subscriber raised; with a Hash of +:event+ and +:error+.
      ERROR = 'bridge.error'

      # All events.
      EVENTS = [STEP_RECEIVED, COMPLETION_SENT, CHECKPOINT_SENT, ERROR].freeze

      def initialize
        @subscribers = EVENTS.to_h { |event| [event, [].freeze] }
        @lock = Mutex.new
      end

      # @param event [String] one of {EVENTS}
      # @yield [payload] what the event is about
      # @return [Proc] the block, for {#unsubscribe}
      # @raise [ArgumentError] there is no such event
      def subscribe(event, &block)
        raise ArgumentError, 'subscribe needs a block' if block.nil?

        change(event) { |blocks| blocks + [block] }
        block
      end

      # @yield [lease] each step whose handler is about to run
      def subscribe_to_step_execution(&block) = subscribe(STEP_RECEIVED, &block)

      # @yield [result] each result that was recorded
      def subscribe_to_step_completion(&block) = subscribe(COMPLETION_SENT, &block)

      # Calls a block no more.
      def unsubscribe(event, block)
        change(event) { |blocks| blocks - [block] }
      end

      # Forgets all subscribers.
      def clear!
        EVENTS.each { |event| change(event) { [] } }
      end

      # Tells the subscribers of an event.
      def publish(event, payload)
        @subscribers.fetch(event).each do |block|
          block.call(payload)
        rescue StandardError => e
          failed(event, e)
        end
      end

      private

      # Lists are replaced, never changed, so that they can be read without the lock.
      def change(event)
        @lock.synchronize do
          raise ArgumentError, "no event: #{event}" unless @subscribers.key?(event)

          @subscribers[event] = yield(@subscribers[event]).freeze
        end
      end

      def failed(event, error)
        Logger.instance.error('subscriber_failed', logger: 'tasker.worker', about: event,
                                                   reason: "#{error.class}: #{error.message}")
        publish(ERROR, { event: event, error: error }) unless event == ERROR
      end
    end
  end
end
