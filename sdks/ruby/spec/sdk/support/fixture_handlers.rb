# frozen_string_literal: true

# The handlers that the conformance vectors call, see sdks/conformance/README.md.
module FixtureHandlers
  Base = TaskerCore::StepHandler::Base
  Errors = TaskerCore::Errors

  class Echo < Base
    def call(context) = success(result: context.input_data)
  end

  class Passthrough < Base
    def call(context)
      given = context.step_config.to_h.transform_keys(&:to_sym)
      return success(**given.slice(:result, :metadata)) if given[:success]

      failure(**given.slice(:message, :error_type, :retryable, :metadata, :error_code))
    end
  end

  class ThrowPermanent < Base
    def call(_context) = raise(Errors::PermanentError.new('no', context: { k: 1 }))
  end

  class ThrowRetryable < Base
    def call(_context) = raise(Errors::RetryableError, 'later')
  end

  class ThrowValidation < Base
    def call(_context) = raise(Errors::ValidationError, 'invalid')
  end

  class ThrowGeneric < Base
    def call(context) = raise((context.get_config('message') || 'boom') * (context.get_config('repeat') || 1))
  end

  class MultiMethod < Base
    def call(_context) = success(result: { method: 'call' })

    def refund(_context) = success(result: { method: 'refund' })
  end

  class BadJson < Base
    def call(_context) = success(result: { number: Float::NAN })
  end

  class Decision < TaskerCore::StepHandler::Decision
    def call(context)
      config = context.step_config
      return skip_branches(reason: config[:skip]) if config.key?(:skip)
      return decision_failure(message: config[:fail]) if config.key?(:fail)

      decision_success(steps: config[:steps], routing_context: config[:routing_context])
    end
  end

  class Analyzer < TaskerCore::StepHandler::Batchable
    def call(context)
      total, size = context.step_config.values_at(:total, :batch_size)
      return no_batches_outcome(reason: 'empty_dataset') if total.zero?

      create_batches_outcome(worker_template_name: 'w', cursor_configs: create_cursor_configs(total, total / size),
                             total_items: total)
    end
  end

  class BatchWorker < TaskerCore::StepHandler::Batchable
    def call(context)
      processed, succeeded, failed, skipped = context.step_config.values_at(:processed, :succeeded, :failed, :skipped)
      batch_worker_success(items_processed: processed, items_succeeded: succeeded, items_failed: failed,
                           items_skipped: skipped)
    end
  end

  class NoOp < TaskerCore::StepHandler::Batchable
    def call(context) = handle_no_op_worker(get_batch_context(context)) || success(result: { no_op: false })
  end

  class Checkpoint < TaskerCore::StepHandler::Batchable
    def call(context)
      config = context.step_config
      more = config.key?(:accumulated) ? { accumulated_results: config[:accumulated] } : {}
      checkpoint_yield(cursor: config[:cursor], items_processed: config[:items_processed], **more)
    end
  end

  # Handlers from blocks.
  module Blocks
    extend TaskerCore::StepHandler::Functional

    step_handler('dsl_returns') { |context:| context.get_config('value') }

    step_handler('dsl_returns_result') do
      TaskerCore::Types::StepHandlerCallResult.success(result: { made: 'by hand' }, metadata: { m: 1 })
    end

    step_handler('dsl_throw_permanent') { raise Errors::PermanentError.new('no', context: { k: 1 }) }
    step_handler('dsl_throw_retryable') { raise Errors::RetryableError, 'later' }
    step_handler('dsl_throw_generic') { raise 'boom' }

    step_handler('dsl_inject', depends_on: { cart: 'validate', gone: 'absent' }, inputs: %i[order_id missing]) do
      |cart:, gone:, order_id:, missing:|
      { cart: cart, gone: gone, order_id: order_id, missing: missing }
    end

    decision_handler('dsl_decision') do |context:|
      config = context.step_config
      next Decision.skip(config[:skip]) if config.key?(:skip)

      Decision.route(config[:steps], **(config[:routing_context] || {}).to_h.transform_keys(&:to_sym))
    end

    batch_analyzer('dsl_analyzer', worker_template: 'w') do |context:|
      BatchConfig.new(total_items: context.get_config('total'), batch_size: context.get_config('batch_size'))
    end
  end

  CLASSES = {
    'echo' => Echo, 'passthrough' => Passthrough, 'throw_permanent' => ThrowPermanent,
    'throw_retryable' => ThrowRetryable, 'throw_validation' => ThrowValidation, 'throw_generic' => ThrowGeneric,
    'multi_method' => MultiMethod, 'bad_json' => BadJson, 'decision' => Decision, 'analyzer' => Analyzer,
    'batch_worker' => BatchWorker, 'no_op' => NoOp, 'checkpoint' => Checkpoint
  }.freeze

  # A registry with all of them; those from blocks are found by themselves.
  def self.registry
    registry = TaskerCore::Registry::HandlerRegistry.new
    CLASSES.each { |name, handler_class| registry.register_handler(name, handler_class) }
    registry.register_handler('seed_process_order', SeedSnippet.handler_class)
  end
end
