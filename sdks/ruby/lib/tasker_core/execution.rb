# frozen_string_literal: true

require 'socket'
require 'time'

module TaskerCore
  # One attempt: from a lease to the result to report. Nothing here waits, and nothing here raises: whatever happens to
  # a handler is a result.
  module Execution
    # Longest message of an error that is kept, in characters.
    MESSAGE_LIMIT = 10_000

    # Longest reason that is kept for a result without a JSON form, in characters.
    REASON_LIMIT = 500

    class << self
      # Runs the handler of a lease on the calling thread.
      #
      # @param lease [Hash] as the server sent it
      # @param registry [Registry::HandlerRegistry]
      # @param worker_id [String]
      # @param cancelled [Proc] says whether the attempt is to stop
      # @param fetch_result [Proc, nil] gets the record of a step named in +omitted_results+, or nil
      # @return [Hash{String => Object}] the result, as the worker protocol describes it
      def run(lease, registry:, worker_id:, cancelled: -> { false }, fetch_result: nil)
        attempt = Attempt.new(lease, worker_id)
        context = context_of(lease, cancelled, fetch_result)
        handler, outcome = resolve(context, registry)
        outcome ||= call(handler, context)
        result = attempt.result(outcome, handler)
        publish_events(context, result)
        result
      rescue Exception => e
        attempt.result(Types::StepHandlerCallResult.from_exception(e))
      end

      # @param lease [Hash]
      # @param limit_seconds [Numeric]
      # @param worker_id [String]
      # @return [Hash{String => Object}] the result of a handler that ran into its time limit
      def timed_out(lease, limit_seconds, worker_id:)
        message = "the handler ran longer than its limit of #{(limit_seconds * 1000).round} ms (timeout_seconds)"
        without_handler(lease, worker_id, 'handler_timeout', message)
      end

      # @param lease [Hash]
      # @param worker_id [String]
      # @return [Hash{String => Object}] the result of a handler that a stopping worker could not wait for; the step may
      #   start again at once
      def cut_short(lease, worker_id:)
        message = "the worker on #{Socket.gethostname} stopped before the handler was done"
        without_handler(lease, worker_id, 'worker_shutdown', message, metadata: { retry_after_seconds: 0 })
      end

      private

      def context_of(lease, cancelled, fetch_result)
        data = lease.fetch('task_sequence_step')
        results = Models::DependencyResultsWrapper.new(data['dependency_results'], omitted: lease['omitted_results'],
                                                                                   fetch: fetch_result)
        Types::StepContext.new(data.merge('dependency_results' => results), cancelled: cancelled)
      end

      # Returns the handler, or nil and the failure that says why there is none.
      def resolve(context, registry)
        definition = definition_of(context)
        name = definition.callable
        return [nil, failure('PermanentError', 'the step names no handler')] if name.empty?

        handler = registry.resolve_handler(definition)
        return [handler, nil] if handler

        detail = definition.uses_method_dispatch? ? " with the method #{definition.effective_method}" : ''
        detail += " by the resolver #{definition.resolver}" if definition.has_resolver_hint?
        [nil, failure('handler_not_found', "Handler not found: #{name}#{detail}")]
      end

      def definition_of(context)
        wanted = context.step_definition.handler
        name = wanted.callable.to_s
        name = context.workflow_step.template_step_name.to_s if name.empty?
        Types::HandlerDefinition.new(callable: name, initialization: wanted.initialization,
                                     handler_method: wanted.handler_method, resolver: wanted.resolver)
      end

      # Even +exit+ in a handler must not end the worker.
      def call(handler, context)
        Types::StepHandlerCallResult.from_handler_output(handler.call(context))
      rescue Exception => e
        Types::StepHandlerCallResult.from_exception(e)
      end

      def publish_events(context, result)
        return if result.key?('checkpoint') || context.cancelled? || context.step_definition.publishes_events.empty?

        DomainEvents.publish_declared(context, result)
      end

      def without_handler(lease, worker_id, error_type, message, metadata: {})
        Attempt.new(lease, worker_id).result(failure(error_type, message, retryable: true, metadata: metadata))
      end

      def failure(error_type, message, retryable: false, metadata: {})
        Types::StepHandlerCallResult.error(error_type: error_type, message: message, retryable: retryable,
                                           metadata: metadata)
      end
    end

    # Writes the outcome of an attempt as the worker protocol wants it.
    class Attempt
      # @param lease [Hash]
      # @param worker_id [String]
      def initialize(lease, worker_id)
        @name = { 'step_uuid' => lease['step_uuid'], 'lease_id' => lease['lease_id'] }
        @worker_id = worker_id
        @started_at = Time.now
        @started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end

      # @param outcome [Types::StepHandlerCallResult::Success, Types::StepHandlerCallResult::Error,
      #   Types::StepHandlerCallResult::CheckpointYield]
      # @param handler [Object, nil]
      # @return [Hash{String => Object}]
      def result(outcome, handler = nil)
        return checkpoint(outcome) if outcome.checkpoint?

        outcome.success? ? success(outcome, handler) : failure(outcome, handler)
      rescue Types::JsonValue::NoJsonFormError => e
        reason = e.message[0, REASON_LIMIT]
        failed(Types::StepHandlerCallResult.error(error_type: 'SERIALIZATION_ERROR', message: reason), handler,
               { 'serialization_error' => reason }, status: 'error')
      end

      private

      def checkpoint(outcome)
        @name.merge('checkpoint' => Types::JsonValue.of(
          cursor: outcome.cursor, items_processed: outcome.items_processed,
          accumulated_results: outcome.accumulated_results
        ))
      end

      def success(outcome, handler)
        value = Types::JsonValue.of(outcome.result)
        custom = Types::JsonValue.of(outcome.metadata || {})
        marks = { 'processed_at' => now, 'processed_by' => name_of(handler), 'handler_class' => class_of(handler) }
        @name.merge('success' => true, 'status' => 'completed', 'result' => value.nil? ? {} : value, 'error' => nil,
                    'metadata' => metadata(handler, marks.merge(custom), retryable: false),
                    'orchestration_metadata' => nil)
      end

      def failure(outcome, handler)
        failed(outcome, handler, Types::JsonValue.of(outcome.metadata || {}))
      rescue Types::JsonValue::NoJsonFormError => e
        # Why the attempt failed matters more than what else was to be kept.
        failed(outcome, handler, { 'metadata_dropped' => e.message[0, REASON_LIMIT] })
      end

      def failed(outcome, handler, custom, status: 'failed')
        code = outcome.error_code && Types::JsonValue.printable(outcome.error_code)
        type = Types::JsonValue.printable(Types::ErrorTypes.wire_name(outcome.error_type))
        retryable = outcome.retryable ? true : false
        marks = { 'failed_at' => now, 'failed_by' => name_of(handler),
                  'error_type' => Types::JsonValue.printable(outcome.error_type), 'error_code' => code,
                  'handler_class' => class_of(handler), 'retryable' => retryable }
        facts = metadata(handler, marks.merge(custom), retryable: retryable)
        @name.merge('success' => false, 'status' => status, 'result' => {},
                    'error' => error(outcome, type, custom, retryable),
                    'metadata' => facts.merge('error_type' => type, 'error_code' => code),
                    'orchestration_metadata' => orchestration_metadata(outcome))
      end

      def error(outcome, type, custom, retryable)
        lines = custom['stack_trace']
        { 'message' => message_of(outcome), 'error_type' => type, 'retryable' => retryable,
          'backtrace' => lines.is_a?(Array) ? lines.map { |line| Types::JsonValue.printable(line) } : nil }
      end

      def message_of(outcome)
        text = outcome.message.to_s
        text = outcome.error_type.to_s if text.empty?
        Types::JsonValue.printable(text)[0, MESSAGE_LIMIT]
      end

      def orchestration_metadata(outcome)
        return nil if outcome.orchestration_metadata.nil?

        Types::JsonValue.of({ headers: {}, error_context: nil, backoff_hint: nil, custom: {} }
          .merge(outcome.orchestration_metadata.transform_keys(&:to_sym)))
      rescue Types::JsonValue::NoJsonFormError
        nil
      end

      def metadata(handler, custom, retryable:)
        elapsed = ((Process.clock_gettime(Process::CLOCK_MONOTONIC) - @started) * 1000).to_i
        { 'execution_time_ms' => elapsed, 'handler_version' => version_of(handler), 'retryable' => retryable,
          'started_at' => rfc3339(@started_at), 'completed_at' => now, 'worker_id' => @worker_id,
          'worker_hostname' => Socket.gethostname, 'custom' => custom, 'error_code' => nil, 'error_type' => nil,
          'context' => {} }
      end

      def name_of(handler)
        handler.respond_to?(:handler_name) ? handler.handler_name : class_of(handler)
      end

      # Classes that were made from blocks may have no name.
      def class_of(handler)
        handler = handler.unwrap if handler.respond_to?(:unwrap)
        handler.nil? ? nil : handler.class.name || handler.class.superclass.name
      end

      def version_of(handler)
        handler.respond_to?(:version) ? handler.version.to_s : '1.0.0'
      end

      def now
        rfc3339(Time.now)
      end

      def rfc3339(time)
        time.getutc.iso8601(6)
      end
    end
    private_constant :Attempt
  end
end
