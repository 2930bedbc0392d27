# frozen_string_literal: true

module TaskerCore
  module DomainEvents
    # Handles events in this process. Subclasses say which, and define +handle+:
    #
    #   class Mailer < TaskerCore::DomainEvents::BaseSubscriber
    #     subscribes_to 'payment.*', 'order.created'
    #
    #     def handle(event)
    #       deliver(event[:event_name], event[:business_payload])
    #     end
    #   end
    class BaseSubscriber
      class << self
        # @param patterns [Array<String>] +*+, prefixes such as +payment.*+, or whole names
        def subscribes_to(*patterns)
          @patterns = patterns.flatten.map(&:to_s)
        end

        # @return [Array<String>] +*+ by default
        def patterns
          @patterns || (superclass.respond_to?(:patterns) ? superclass.patterns : ['*'])
        end
      end

      # Handles an event. Subclasses define it.
      #
      # @param event [Hash{Symbol => Object}] +event_id+, +event_name+, +event_version+, +metadata+,
      #   +business_payload+, +execution_result+, +context+
      def handle(_event)
        raise NotImplementedError, "#{self.class} must define handle(event)"
      end

      # Called before an event is handled.
      #
      # @return [Object] false leaves the event out
      def before_handle(_event)
        true
      end

      # Called after an event was handled.
      def after_handle(_event); end

      # Called with what went wrong.
      def on_handle_error(event, error)
        Logger.instance.error('domain_event_failed', logger: 'tasker.events', about: event[:event_name],
                                                     subscriber: self.class.name,
                                                     reason: "#{error.class}: #{error.message}")
      end

      # Begins to handle events. Does nothing if it does so already.
      #
      # @return [self]
      def start!
        poller = Worker::InProcessDomainEventPoller.instance
        # One subscription for all patterns, so that no event comes twice.
        @subscription ||= poller.subscribe('*') { |event| receive(event) }
        poller.start!
        self
      end

      # Handles no more events.
      #
      # @return [self]
      def stop!
        Worker::InProcessDomainEventPoller.instance.unsubscribe(@subscription) if @subscription
        @subscription = nil
        self
      end

      # @return [Boolean] whether it handles events
      def active?
        !@subscription.nil?
      end

      private

      def receive(event)
        return if self.class.patterns.none? { |pattern| DomainEvents.matches?(pattern, event[:event_name]) }
        return if before_handle(event) == false

        handle(event)
        after_handle(event)
      rescue StandardError => e
        on_handle_error(event, e)
      end
    end
  end
end
