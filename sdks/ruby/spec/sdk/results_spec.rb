# frozen_string_literal: true

RSpec.describe TaskerCore::Types::StepHandlerCallResult do
  it 'makes successes' do
    result = described_class.success(result: [1])
    expect(result).to have_attributes(success: true, success?: true, checkpoint?: false, result: [1], metadata: {})
  end

  it 'makes failures of any non-empty type, not retryable by default' do
    result = described_class.error(error_type: 'card_declined', message: 'no', error_code: 'E1')
    expect(result).to have_attributes(success?: false, checkpoint?: false, error_type: 'card_declined', message: 'no',
                                      error_code: 'E1', retryable: false, metadata: {})
    expect { described_class.error(error_type: '', message: 'no') }.to raise_error(ArgumentError)
    expect { described_class.error(error_type: nil, message: 'no') }.to raise_error(ArgumentError)
  end

  it 'takes the message of a failure under both names' do
    expect(described_class.failure(error_message: 'a')).to have_attributes(message: 'a', error_type: 'UnexpectedError')
    expect(described_class.failure(message: 'b', retryable: true)).to have_attributes(message: 'b', retryable: true)
  end

  it 'makes checkpoints, whose number of items is checked' do
    result = described_class.checkpoint_yield(cursor: 5, items_processed: 3)
    expect(result).to have_attributes(checkpoint?: true, success?: false, cursor: 5, accumulated_results: nil)
    expect(result.to_checkpoint_data(event_id: 'e', step_uuid: 's'))
      .to eq(event_id: 'e', step_uuid: 's', cursor: 5, items_processed: 3, accumulated_results: nil)
    [-1, nil, 1.5].each do |wrong|
      expect { described_class.checkpoint_yield(cursor: 5, items_processed: wrong) }.to raise_error(ArgumentError)
    end
  end

  describe '.from_handler_output' do
    it 'passes results on' do
      [described_class.success(result: 1), described_class.error(error_type: 'x', message: 'm'),
       described_class.checkpoint_yield(cursor: 1, items_processed: 1)].each do |result|
        expect(described_class.from_handler_output(result)).to equal(result)
      end
    end

    it 'reads a Hash that says whether it is a success' do
      good = described_class.from_handler_output({ 'success' => true, 'result' => { 'a' => 1 }, 'metadata' => { 'm' => 1 } })
      bad = described_class.from_handler_output({ success: false, message: 'no', retryable: true })
      expect(good).to have_attributes(success?: true, result: { 'a' => 1 }, metadata: { 'm' => 1 })
      expect(bad).to have_attributes(success?: false, message: 'no', retryable: true, error_type: 'UnexpectedError')
    end

    it 'takes everything else as what the step leaves behind' do
      expect(described_class.from_handler_output({ a: 1 }))
        .to have_attributes(success?: true, result: { a: 1 }, metadata: { wrapped: true, original_type: 'Hash' })
      expect(described_class.from_handler_output([1]))
        .to have_attributes(result: [1], metadata: { wrapped: true, original_type: 'Array' })
      expect(described_class.from_handler_output(nil)).to have_attributes(success?: true, result: nil)
    end
  end

  describe '.from_exception' do
    it 'says that a permanent error is final, with code and context' do
      error = TaskerCore::PermanentError.new('no', error_code: 'E1', context: { k: 1 })
      expect(described_class.from_exception(error))
        .to have_attributes(error_type: 'PermanentError', retryable: false, error_code: 'E1', metadata: { context: { k: 1 } })
    end

    it 'keeps when to try again' do
      result = described_class.from_exception(TaskerCore::RetryableError.new('later', retry_after: 2.5))
      expect(result).to have_attributes(error_type: 'RetryableError', retryable: true,
                                        metadata: { context: {}, retry_after: 2.5 },
                                        orchestration_metadata: { headers: { 'retry-after' => '3' } })
      expect(described_class.from_exception(TaskerCore::RetryableError.new('later')))
        .to have_attributes(metadata: { context: {} }, orchestration_metadata: nil)
    end

    it 'tells a validation error from other permanent errors' do
      result = described_class.from_exception(TaskerCore::ValidationError.new('bad', field: 'age'))
      expect(result).to have_attributes(error_type: 'ValidationError', retryable: false,
                                        metadata: { context: {}, field: 'age' })
    end

    it 'tells timeouts and network errors' do
      expect(described_class.from_exception(TaskerCore::TimeoutError.new('slow')))
        .to have_attributes(error_type: 'TimeoutError', retryable: true)
      expect(described_class.from_exception(TaskerCore::NetworkError.new('away', status_code: 502)))
        .to have_attributes(error_type: 'RetryableError', retryable: true, metadata: { context: {}, status_code: 502 })
    end

    it 'takes errors that nobody classified for retryable, and says where they came from' do
      error = begin
        raise KeyError, 'boom'
      rescue KeyError => e
        e
      end
      result = described_class.from_exception(error)
      expect(result).to have_attributes(error_type: 'UnexpectedError', retryable: true, message: 'boom')
      expect(result.metadata[:exception_class]).to eq('KeyError')
      expect(result.metadata[:stack_trace].size).to be_between(1, 10)
    end

    it 'takes a wrong configuration for permanent' do
      expect(described_class.from_exception(TaskerCore::ConfigurationError.new('x'))).to have_attributes(retryable: false)
    end
  end
end
