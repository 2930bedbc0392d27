# frozen_string_literal: true

require_relative 'domain_events/publisher_registry'
require_relative 'domain_events/base_publisher'
require_relative 'domain_events/base_subscriber'
require_relative 'domain_events/subscriber_registry'

module TaskerCore
  # Events that follow from the outcomes of steps, as a template's +publishes_events+ declares them. They are handed to
  # subscribers in this process when the handler has returned; an attempt that is run again publishes them again.
  module DomainEvents
    # What must be true of the outcome, by the +condition+ of the declaration.
    CONDITIONS = {
      'success' => ->(success, _retryable) { success },
      'failure' => ->(success, _retryable) { !success },
      'retryable_failure' => ->(success, retryable) { !success && retryable },
      'permanent_failure' => ->(success, retryable) { !success && !retryable },
      'always' => ->(_success, _retryable) { true }
    }.freeze

    class << self
      # @param condition [String, nil] +success+ (by default), +failure+, +retryable_failure+, +permanent_failure+, or
      #   +always+
      # @param success [Boolean]
      # @param retryable [Boolean] whether a failure is retryable
      # @return [Boolean] whether an event of this condition is published for such an outcome
      def condition_met?(condition, success:, retryable: false)
        CONDITIONS.fetch(condition || 'success') { return false }.call(success, retryable)
      end

      # @param pattern [String] +*+, a prefix such as +payment.*+, or a whole name
      # @param event_name [String]
      # @return [Boolean] whether a subscriber of the pattern gets the event
      def matches?(pattern, event_name)
        Worker::InProcessDomainEventPoller.matches?(pattern.to_s, event_name.to_s)
      end

      # Hands an event to the subscribers in this process.
      #
      # @param event [Hash{Symbol => Object}]
      # @return [Boolean] whether there is anybody to take it
      def deliver(event)
        Worker::InProcessDomainEventPoller.instance.publish(event)
      end

      # Publishes the events that a step declares for its outcome. Never raises.
      #
      # @param context [Types::StepContext]
      # @param result [Hash{String => Object}] as it is reported
      # @return [Array<String>] the names of the events that were published
      def publish_declared(context, result)
        outcome = Types::IndifferentHash.new(result)
        declarations = Types::IndifferentHash.wrap(context.step_definition.publishes_events.grep(Hash))
        declarations.filter_map { |declaration| publish_one(declaration, outcome, context) }
      end

      private

      def publish_one(declaration, outcome, context)
        return nil unless condition_met?(declaration[:condition], success: outcome[:success],
                                                                  retryable: outcome.dig(:error, :retryable) || false)

        publisher = PublisherRegistry.instance.get_or_default(declaration[:publisher])
        published = publisher.publish(event_name: declaration[:name], step_result: outcome,
                                      event_declaration: declaration, step_context: context)
        declaration[:name] if published
      rescue StandardError => e
        Logger.instance.error('domain_event_not_published', logger: 'tasker.events', about: declaration[:name],
                                                            reason: "#{e.class}: #{e.message}")
        nil
      end
    end
  end
end
