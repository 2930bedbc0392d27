# frozen_string_literal: true

require 'tasker_core/client/caller'
require 'tasker_core/client/errors'
require 'tasker_core/types'

module TaskerCore
  # Creates tasks and looks at them, over HTTP. Any number of threads may use it.
  #
  # Server, credentials and timeout come from the environment: TASKER_ORCHESTRATION_URL (http://localhost:8080),
  # TASKER_ORCHESTRATION_AUTH_TOKEN, TASKER_AUTH_TOKEN or TASKER_API_KEY, TASKER_ORCHESTRATION_TIMEOUT_MS (30000).
  #
  # Every method raises {Client::Error} if the server refuses or cannot be reached. What does no harm twice is tried up
  # to four times: reading, cancelling, and creating a task with an +idempotency_key+.
  #
  # @example
  #   task = TaskerCore::Client.create_task(name: 'order', namespace: 'shop', context: { order: 'A-1' })
  #   TaskerCore::Client.get_task(task.task_uuid).status
  module Client
    class << self
      # Creates a task.
      #
      # @param name [String] the template's name
      # @param namespace [String] the template's namespace
      # @param context [Hash, #to_unsafe_h] the task's input; Rails' parameters are taken, too
      # @param version [String] the template's version
      # @param initiator [String] who wants it
      # @param source_system [String] where it comes from
      # @param reason [String] why
      # @param options other keys of the request: +tags+, +priority+, +correlation_id+, +parent_correlation_id+,
      #   +idempotency_key+, +return_existing+, +requested_at+
      # @return [Types::ClientTaskResponse]
      def create_task(name:, namespace: 'default', context: {}, version: '1.0.0', initiator: 'tasker-core-ruby',
                      source_system: 'tasker-core', reason: 'Task requested', **options)
        body = { name: name, namespace: namespace, context: plain(context), version: version, initiator: initiator,
                 source_system: source_system, reason: reason, **options.compact }
        repeatable = !options[:idempotency_key].nil?
        task(caller_now.call('create_task', :post, '/v1/tasks', body: body, repeatable: repeatable))
      end

      # @param task_uuid [String]
      # @return [Types::ClientTaskResponse] the task with its steps
      def get_task(task_uuid)
        task(read('get_task', path(task_uuid)))
      end

      # @param limit [Integer] most tasks, 1 to 100
      # @param offset [Integer] how many to leave out, rounded down to a multiple of +limit+
      # @param namespace [String, nil] only those in it
      # @param status [String, nil] only those in this state
      # @return [Types::ClientTaskListResponse] tasks, newest first, without their steps
      def list_tasks(limit: 50, offset: 0, namespace: nil, status: nil)
        query = { page: (offset / limit) + 1, per_page: limit, namespace: namespace, status: status }.compact
        page = read('list_tasks', "/v1/tasks?#{URI.encode_www_form(query)}")
        fitted(Types::ClientTaskListResponse, page, 'tasks')
      end

      # Cancels a task.
      # @param task_uuid [String]
      # @return [Types::ClientTaskResponse] the task as it is then
      def cancel_task(task_uuid)
        task(caller_now.call('cancel_task', :delete, path(task_uuid), repeatable: true))
      end

      # @param task_uuid [String]
      # @return [Array<Types::ClientStepResponse>] its steps, in the order of the template
      def list_task_steps(task_uuid)
        steps = read('list_task_steps', path(task_uuid, 'workflow_steps'))
        steps.map { |step| fitted(Types::ClientStepResponse, step, 'step_uuid') }
      end

      # @param task_uuid [String]
      # @param step_uuid [String]
      # @return [Types::ClientStepResponse]
      def get_step(task_uuid, step_uuid)
        fitted(Types::ClientStepResponse, read('get_step', path(task_uuid, 'workflow_steps', step_uuid)), 'step_uuid')
      end

      # @param task_uuid [String]
      # @param step_uuid [String]
      # @return [Array<Types::ClientStepAuditResponse>] its attempts and what was done to it by hand, newest first
      def get_step_audit_history(task_uuid, step_uuid)
        found = read('get_step_audit_history', path(task_uuid, 'workflow_steps', step_uuid, 'audit'))
        found.map { |entry| fitted(Types::ClientStepAuditResponse, entry, 'audit_uuid') }
      end

      # @return [Types::ClientHealthResponse] that the server is up
      def health_check
        fitted(Types::ClientHealthResponse, read('health_check', '/health'), 'status')
      end

      # Closes connections and forgets the settings: the next call reads the environment anew.
      def reset!
        LOCK.synchronize do
          @caller&.close
          @caller = nil
        end
      end

      private

      def caller_now
        LOCK.synchronize { @caller ||= Caller.new(Settings.new) }
      end

      def read(operation, path)
        caller_now.call(operation, :get, path, repeatable: true)
      end

      def path(*parts)
        "/v1/tasks/#{parts.map { |part| URI.encode_www_form_component(part) }.join('/')}"
      end

      def plain(context)
        context.respond_to?(:to_unsafe_h) ? context.to_unsafe_h : context.to_h
      end

      def task(answer)
        fitted(Types::ClientTaskResponse, answer, 'task_uuid')
      end

      # An answer of another shape, such as that of a newer server, is returned as it is.
      def fitted(type, answer, key)
        answer.is_a?(Hash) && answer.key?(key) ? type.from_hash(answer) : answer
      rescue ArgumentError, TypeError, NoMethodError
        answer
      end
    end

    LOCK = Mutex.new
    private_constant :LOCK
  end
end
