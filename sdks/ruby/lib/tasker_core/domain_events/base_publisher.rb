# frozen_string_literal: true

require 'securerandom'
require 'time'

module TaskerCore
  module DomainEvents
    # Makes events of the outcomes of steps. Subclasses define +name+, by which templates name them, and override what
    # they want to do otherwise.
    class BasePublisher
      # @return [String]
      def name
        raise NotImplementedError, "#{self.class} must define name"
      end

      # @param step_result [Types::IndifferentHash] the result as it is reported
      # @param event_declaration [Types::IndifferentHash] what the template says about the event
      # @param step_context [Types::StepContext, nil]
      # @return [Object] what the event is about; by default what the handler returned
      def transform_payload(step_result, _event_declaration, _step_context = nil)
        step_result[:result]
      end

      # @return [Boolean] whether to publish at all; true by default
      def should_publish?(_step_result, _event_declaration, _step_context = nil)
        true
      end

      # @return [Hash] added to the event's metadata
      def additional_metadata(_step_result, _event_declaration, _step_context = nil)
        {}
      end

      # Called before an event is handed on.
      def before_publish(_event_name, _payload, _metadata); end

      # Called after an event was handed on.
      def after_publish(_event_name, _payload, _metadata); end

      # Called with what went wrong.
      def on_publish_error(event_name, error, _payload)
        Logger.instance.error('domain_event_not_published', logger: 'tasker.events', about: event_name,
                                                            publisher: name, reason: "#{error.class}: #{error.message}")
      end

      # @param publication [Hash] +:event_name+, +:step_result+, +:event_declaration+, +:step_context+
      # @return [Boolean] whether the event was handed on
      def publish(publication)
        event_name, step_result, declaration, context =
          publication.values_at(:event_name, :step_result, :event_declaration, :step_context)
        return false unless should_publish?(step_result, declaration, context)

        payload = transform_payload(step_result, declaration, context)
        metadata = metadata_of(step_result, declaration, context)
        before_publish(event_name, payload, metadata)
        taken = deliver(event(event_name, declaration, payload, metadata, step_result, context))
        after_publish(event_name, payload, metadata)
        taken
      rescue StandardError => e
        on_publish_error(event_name, e, payload)
        false
      end

      # Hands an event on. Override it to publish elsewhere.
      #
      # @param event [Hash{Symbol => Object}]
      # @return [Boolean] whether it was taken
      def deliver(event)
        DomainEvents.deliver(event)
      end

      private

      def metadata_of(step_result, declaration, context)
        ids = { task_uuid: :task_uuid, step_uuid: :step_uuid, step_name: :step_name, namespace: :namespace_name,
                correlation_id: :correlation_id }
        known = ids.select { |_, reader| context.respond_to?(reader) }
        known = known.transform_values { |reader| context.public_send(reader) }
        time = Time.now.utc.iso8601(6)
        { publisher: name, published_at: time, fired_at: time, fired_by: name, **known,
          **additional_metadata(step_result, declaration, context) }
      end

      def event(event_name, declaration, payload, metadata, step_result, context)
        { event_id: SecureRandom.uuid, event_name: event_name, event_version: (declaration || {})[:version] || '1.0.0',
          metadata: metadata, business_payload: payload,
          execution_result: { success: step_result[:success], status: step_result[:status],
                              step_uuid: step_result[:step_uuid], error: step_result[:error] }.compact,
          context: { task_uuid: metadata[:task_uuid], namespace: metadata[:namespace], step_name: metadata[:step_name],
                     task_name: context.respond_to?(:task) ? context.task.task_name : nil } }
      end
    end

    # Publishes what handlers return, as it is.
    class DefaultPublisher < BasePublisher
      # @return [String] +default+
      def name
        'default'
      end
    end
  end
end
